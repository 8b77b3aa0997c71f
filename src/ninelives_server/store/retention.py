"""Deletions of what is old, in batches of a bounded size. How old and how much is the caller's."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from ninelives_server.model.sessions import SessionState
from ninelives_server.store import tables
from ninelives_server.store.core import Tx

_ENDED = tuple(state for state in SessionState if state.is_terminal)
#: A blob is uploaded ahead of its record: a young one may still get it.
_BLOB_AGE = timedelta(days=1)
#: Records of one transaction.
RECORDS = 5000


class Periods(NamedTuple):
    """For how many days a project keeps what; 0 is for ever."""

    project_id: str
    sessions: int
    events: int
    logs: int


class Deleted(NamedTuple):
    """How many things went, and whether there may be more."""

    rows: int
    more: bool


def periods(tx: Tx) -> list[Periods]:
    """Return all projects' periods."""
    project = tables.projects.c
    query = sa.select(project.id, project.retain_sessions, project.retain_events, project.retain_logs)
    return [Periods(*row) for row in tx.connection.execute(query)]


def _before(tx: Tx, days: int) -> datetime:
    return tx.now - timedelta(days=days)


def _ids(tx: Tx, query: sa.Select[Any]) -> list[str]:
    return list(tx.connection.execute(query).scalars())


def delete_sessions(tx: Tx, *, kept: Periods, limit: int) -> Deleted:
    """Delete sessions that ended long ago, with their journals; a long journal goes in pieces."""
    if not kept.sessions:
        return Deleted(0, more=False)
    session = tables.sessions.c
    query = (
        sa.select(session.id, session.base_seq)
        .where(
            session.project_id == kept.project_id,
            session.state.in_(_ENDED),
            session.ended_at < _before(tx, kept.sessions),
        )
        .order_by(session.created_at)
        .limit(limit)
    )
    old: list[str] = []
    records = 0
    for row in tx.connection.execute(query):
        if old and records + row.base_seq > RECORDS:
            break
        old.append(row.id)
        records += row.base_seq
    if len(old) == 1 and _shorten(tx, old[0]):
        return Deleted(0, more=True)
    if old:
        tx.connection.execute(sa.delete(tables.outcomes).where(tables.outcomes.c.session_id.in_(old)))
        tx.connection.execute(sa.delete(tables.sessions).where(session.id.in_(old)))
    return Deleted(len(old), more=len(old) == limit or records > 0)


def _shorten(tx: Tx, session_id: str) -> bool:
    """Delete the first records of a journal; `False` where what is left may go at once."""
    journal = tables.journal.c
    own = journal.session_id == session_id
    cut = tx.connection.execute(
        sa.select(journal.seq).where(own).order_by(journal.seq).offset(RECORDS).limit(1)
    ).scalar_one_or_none()
    if cut is None:
        return False
    tx.connection.execute(sa.delete(tables.journal).where(own, journal.seq < cut))
    return True


def delete_logs(tx: Tx, *, kept: Periods, limit: int) -> Deleted:
    """Delete what sessions that ended long ago printed; return from how many sessions."""
    if not kept.logs:
        return Deleted(0, more=False)
    session, journal = tables.sessions.c, tables.journal.c
    has_logs = sa.exists().where(journal.session_id == session.id, journal.track == "log")
    old = _ids(
        tx,
        sa.select(session.id)
        .where(
            session.project_id == kept.project_id,
            session.state.in_(_ENDED),
            session.ended_at < _before(tx, kept.logs),
            has_logs,
        )
        .limit(limit),
    )
    if old:
        tx.connection.execute(
            sa.delete(tables.journal).where(journal.session_id.in_(old), journal.track == "log")
        )
    return Deleted(len(old), more=len(old) == limit)


def delete_events(tx: Tx, *, kept: Periods, youngest: timedelta, limit: int) -> Deleted:
    """Delete old events that were dispatched and of whose sessions none is open; return how many."""
    if not kept.events:
        return Deleted(0, more=False)
    event, session, inbox = tables.events.c, tables.sessions.c, tables.inbox.c
    is_running = sa.exists().where(session.event_id == event.id, session.state.not_in(_ENDED))
    is_awaited = sa.exists().where(inbox.event_id == event.id)
    old = _ids(
        tx,
        sa.select(event.id)
        .where(
            event.project_id == kept.project_id,
            event.created_at < min(_before(tx, kept.events), tx.now - youngest),
            event.dispatched_at.is_not(None),
            ~is_running,
            ~is_awaited,
        )
        .order_by(event.created_at)
        .limit(limit),
    )
    if old:
        tx.connection.execute(sa.delete(tables.outcomes).where(tables.outcomes.c.event_id.in_(old)))
        tx.connection.execute(sa.delete(tables.events).where(event.id.in_(old)))
    return Deleted(len(old), more=len(old) == limit)


def delete_blobs(tx: Tx, *, kept: Periods, limit: int) -> Deleted:
    """Delete blobs that no journal and no build names any more; return how many."""
    blob, journal, build = tables.blobs.c, tables.journal.c, tables.builds.c
    in_journal = (
        sa.select(journal.blob_sha256)
        .join(tables.sessions, tables.sessions.c.id == journal.session_id)
        .where(tables.sessions.c.project_id == kept.project_id, journal.blob_sha256.is_not(None))
    )
    in_builds = sa.select(build.sha256).where(build.project_id == kept.project_id)
    old = _ids(
        tx,
        sa.select(blob.sha256)
        .where(
            blob.project_id == kept.project_id,
            blob.created_at < tx.now - _BLOB_AGE,
            blob.sha256.not_in(in_journal),
            blob.sha256.not_in(in_builds),
        )
        .distinct()
        .limit(limit),
    )
    if old:
        tx.connection.execute(
            sa.delete(tables.blobs).where(blob.project_id == kept.project_id, blob.sha256.in_(old))
        )
    return Deleted(len(old), more=len(old) == limit)


def delete_audit(tx: Tx, *, days: int, limit: int) -> Deleted:
    """Delete old rows of the audit log; return how many."""
    row = tables.audit.c
    old = _ids(tx, sa.select(row.id).where(row.at < _before(tx, days)).order_by(row.at).limit(limit))
    if old:
        tx.connection.execute(sa.delete(tables.audit).where(row.id.in_(old)))
    return Deleted(len(old), more=len(old) == limit)
