"""Rows of the journal: the hot path of the whole product, so in plain SQL and few statements.

It only stores. Who may write what, what two equal records are and what a status means is decided in
`sessions.journal`; values come sealed.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from ninelives_server.store import tables
from ninelives_server.store.core import Tx
from ninelives_server.store.driver import columns, marks, sqlite, sqlite_time


class Key(NamedTuple):
    """Where a record stands: unique within its session."""

    track: str
    strand: str
    n: int


class Row(NamedTuple):
    """A record as it is stored, in the order of the table's columns.

    Attributes:
        sealed_value: What the session process sent, opaque to us.
        blob_sha256: Instead of the value, where it is stored as a blob.
        journal_bytes: What the session's values and previews take, up to this record; 0 where it was stored
            by a release that wrote it to the session, or copied from another session.
    """

    session_id: str
    strand: str
    track: str
    n: int
    seq: int
    kind: str
    name: str
    digest: bytes
    status: str
    attempt: int
    epoch: int
    started_at: datetime
    ended_at: datetime | None
    sealed_value: bytes | None
    blob_sha256: str | None
    sealed_preview: bytes | None
    journal_bytes: int = 0

    @property
    def key(self) -> Key:
        """The record's key."""
        return Key(self.track, self.strand, self.n)

    @property
    def inline_bytes(self) -> int:
        """What its value and preview take, without a blob."""
        return len(self.sealed_value or b"") + len(self.sealed_preview or b"")


class Head(NamedTuple):
    """What a commit must know of a session, locked until the transaction ends.

    Where its journal stands, its newest record tells: so a step changes no row of the sessions. That row
    tells of what is older, of a fork's beginning, and of a session that has ended.
    """

    id: str
    org_id: str
    project_id: str
    state: str
    epoch: int
    worker_id: str | None
    next_seq: int
    journal_bytes: int
    crashes: int


_COLUMNS = ", ".join(Row._fields)
_POSTGRES_TYPES = (
    "text", "text", "text", "int", "int", "text", "text", "bytea", "text", "int", "int",
    "timestamptz", "timestamptz", "bytea", "text", "bytea", "bigint",
)  # fmt: skip

#: Of sessions: the columns of `Head`, but for those that tell where its journal stands.
_OWN = "id, org_id, project_id, state, epoch, worker_id"
_HEADS_SQLITE = (
    f"SELECT {', '.join(f's.{name}' for name in _OWN.split(', '))}, "
    "max(s.base_seq, coalesce(j.seq + 1, 1)), max(s.journal_bytes, coalesce(j.journal_bytes, 0)), s.crashes "
    "FROM sessions s LEFT JOIN journal j ON j.session_id = s.id "
    "AND j.seq = (SELECT max(seq) FROM journal WHERE session_id = s.id) WHERE s.id IN "
)
_LOCK_POSTGRES = (
    f"SELECT {_OWN}, base_seq, journal_bytes, crashes FROM sessions WHERE id = ANY($1::text[]) "
    "ORDER BY id FOR UPDATE"
)
# By itself, and after it: a statement that has waited for a lock sees other tables as they were before.
_NEWEST_POSTGRES = (
    "SELECT s.id, j.seq, j.journal_bytes FROM unnest($1::text[]) AS s(id) CROSS JOIN LATERAL "
    "(SELECT seq, journal_bytes FROM journal WHERE session_id = s.id ORDER BY seq DESC LIMIT 1) AS j"
)

_INSERT_SQLITE = (
    f"INSERT INTO journal ({_COLUMNS}) VALUES ({', '.join('?' * len(Row._fields))}) ON CONFLICT DO NOTHING"
)
_LISTS = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(_POSTGRES_TYPES, 1))
_INSERT_POSTGRES = f"INSERT INTO journal ({_COLUMNS}) SELECT * FROM unnest({_LISTS}) ON CONFLICT DO NOTHING"


@lru_cache(maxsize=256)
def _heads_sqlite(count: int) -> str:
    return f"{_HEADS_SQLITE}({marks(count)})"


def heads(tx: Tx, session_ids: Iterable[str]) -> dict[str, Head]:
    """Lock sessions, in the order of their ids so that no two commits wait for each other, and read them."""
    ids = sorted(set(session_ids))
    if not ids:
        return {}
    if (lite := sqlite(tx)) is not None:
        return {row[0]: Head._make(row) for row in lite.execute(_heads_sqlite(len(ids)), ids)}
    found = {row[0]: Head(*row) for row in tx.connection.exec_driver_sql(_LOCK_POSTGRES, (ids,))}
    for session_id, seq, size in tx.connection.exec_driver_sql(_NEWEST_POSTGRES, (list(found),)):
        head = found[session_id]
        found[session_id] = head._replace(
            next_seq=max(head.next_seq, seq + 1), journal_bytes=max(head.journal_bytes, size)
        )
    return found


def insert(tx: Tx, rows: Sequence[Row]) -> bool:
    """Insert records; tell whether all of them were new. Those that were there stay as they are."""
    if not rows:
        return True
    if (lite := sqlite(tx)) is not None:
        values = [(*r[:11], sqlite_time(r[11]), sqlite_time(r[12]), *r[13:]) for r in rows]
        return int(lite.executemany(_INSERT_SQLITE, values).rowcount) == len(rows)
    return tx.connection.exec_driver_sql(_INSERT_POSTGRES, columns(rows)).rowcount == len(rows)


def add(tx: Tx, row: Row) -> None:
    """Insert a record whose key was seen to be free.

    Raises:
        RuntimeError: Its `seq` is not: somebody writes who does not know where the journal stands.
    """
    if not insert(tx, [row]):
        raise RuntimeError(f"session {row.session_id} has another record {row.seq} already")


def advance(tx: Tx, heads: Sequence[Head]) -> None:
    """Write down where the sessions' journals stand, and the deaths in a row."""
    if not heads:
        return
    values = [(head.next_seq, head.journal_bytes, head.crashes, head.id) for head in heads]
    if (lite := sqlite(tx)) is not None:
        query = "UPDATE sessions SET base_seq = ?, journal_bytes = ?, crashes = ? WHERE id = ?"
        lite.executemany(query, values)
        return
    query = (
        "UPDATE sessions SET base_seq = new.seq, journal_bytes = new.bytes, crashes = new.crashes "
        "FROM unnest($1::int[], $2::bigint[], $3::int[], $4::text[]) AS new(seq, bytes, crashes, id) "
        "WHERE sessions.id = new.id"
    )
    tx.connection.exec_driver_sql(query, columns(values))


def take_back(tx: Tx, next_seqs: dict[str, int]) -> None:
    """Delete what this transaction inserted: in each session, the records from this `seq` on."""
    journal = tables.journal
    for session_id, seq in next_seqs.items():
        tx.connection.execute(
            sa.delete(journal).where(journal.c.session_id == session_id, journal.c.seq >= seq)
        )


def by_keys(tx: Tx, session_id: str, keys: Iterable[Key]) -> dict[Key, Row]:
    """Return those records of a session that are there already."""
    journal = tables.journal
    wanted = sorted(set(keys))
    found: dict[Key, Row] = {}
    for at in range(0, len(wanted), 200):
        # Strands first: a list of values is understood by every database, a list of tuples is not.
        part = set(wanted[at : at + 200])
        query = sa.select(*(journal.c[name] for name in Row._fields)).where(
            journal.c.session_id == session_id,
            journal.c.track.in_(sorted({key.track for key in part})),
            journal.c.strand.in_(sorted({key.strand for key in part})),
            journal.c.n.in_(sorted({key.n for key in part})),
        )
        rows = (Row(*row) for row in tx.connection.execute(query))
        found.update({row.key: row for row in rows if row.key in part})
    return found


def replace(tx: Tx, row: Row) -> None:
    """Put a finished record in the place of the same one that had only started."""
    journal = tables.journal
    values: dict[str, Any] = row._asdict()
    for name in ("session_id", "strand", "track", "n"):
        del values[name]
    tx.connection.execute(
        sa.update(journal)
        .where(
            journal.c.session_id == row.session_id,
            journal.c.track == row.track,
            journal.c.strand == row.strand,
            journal.c.n == row.n,
        )
        .values(**values)
    )


def of_session(
    tx: Tx, session_id: str, *, after: int = 0, limit: int = 1000, tracks: Sequence[str] | None = None
) -> list[Row]:
    """Return a session's records in the order of their commits, from the one after `after`."""
    journal = tables.journal
    query = sa.select(*(journal.c[name] for name in Row._fields)).where(
        journal.c.session_id == session_id, journal.c.seq > after
    )
    if tracks is not None:
        query = query.where(journal.c.track.in_(tracks))
    return [Row(*row) for row in tx.connection.execute(query.order_by(journal.c.seq).limit(limit))]


def count(tx: Tx, session_id: str) -> int:
    """Return how many records a session has."""
    journal = tables.journal
    query = sa.select(sa.func.count()).where(journal.c.session_id == session_id)
    return int(tx.connection.execute(query).scalar_one())


def size(tx: Tx, session_id: str) -> tuple[int, int]:
    """Return how many records a session has committed, and their bytes."""
    session = tables.sessions.c
    query = sa.select(session.base_seq - 1, session.journal_bytes).where(session.id == session_id)
    records, stored = tx.connection.execute(query).one()
    newest = last(tx, session_id, track=None)
    if newest is not None:
        records, stored = max(records, newest.seq), max(stored, newest.journal_bytes)
    return int(records), int(stored)


def last(tx: Tx, session_id: str, *, track: str | None = "call") -> Row | None:
    """Return the session's newest step or wait, or its newest record of any track."""
    journal = tables.journal
    query = sa.select(*(journal.c[name] for name in Row._fields)).where(journal.c.session_id == session_id)
    if track is not None:
        query = query.where(journal.c.track == track)
    row = tx.connection.execute(query.order_by(journal.c.seq.desc()).limit(1)).first()
    return None if row is None else Row(*row)


@contextmanager
def savepoint(tx: Tx) -> Iterator[None]:
    """Undo what the block did, and only that, where it raises."""
    told = len(tx.notices)
    try:
        with tx.connection.begin_nested():
            yield
    except BaseException:
        del tx.notices[told:]
        raise


#: Times within one second are compared by their microseconds; few short steps cross into the next second.
_SHORT_SQLITE = (
    "SELECT name, count(*) FROM journal WHERE session_id = ? AND kind = 'step' AND track = 'call' "
    "AND substr(started_at, 1, 19) = substr(ended_at, 1, 19) "
    "AND CAST(substr(ended_at, 21, 6) AS INTEGER) - CAST(substr(started_at, 21, 6) AS INTEGER) < 1000 "
    "GROUP BY name HAVING count(*) > ? ORDER BY count(*) DESC, name LIMIT 10"
)
_SHORT_POSTGRES = (
    "SELECT name, count(*) FROM journal WHERE session_id = $1 AND kind = 'step' AND track = 'call' "
    "AND ended_at - started_at < interval '1 millisecond' "
    "GROUP BY name HAVING count(*) > $2 ORDER BY count(*) DESC, name LIMIT 10"
)


def short_steps(tx: Tx, session_id: str, more_than: int) -> list[tuple[str, int]]:
    """Return the functions that made more than so many steps of less than 1 ms, and how many each."""
    lite = sqlite(tx)
    found = (
        lite.execute(_SHORT_SQLITE, (session_id, more_than))
        if lite is not None
        else tx.connection.exec_driver_sql(_SHORT_POSTGRES, (session_id, more_than))
    )
    return [(str(name), int(count)) for name, count in found]
