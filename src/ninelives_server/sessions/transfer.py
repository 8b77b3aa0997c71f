"""What is too large for the link, for workers that hold a session: journals for replay, large values."""

import hashlib
from collections.abc import AsyncIterator
from functools import partial
from typing import NamedTuple

from ninelives.run import wire
from ninelives_server.errors import Conflict, Invalid, NotFound, TooLarge
from ninelives_server.model.sessions import Session
from ninelives_server.sessions import commit
from ninelives_server.sessions.records import seconds_of
from ninelives_server.store import blobs, journal, sessions
from ninelives_server.store.core import Store, Tx
from ninelives_server.store.journal import Row
from ninelives_server.vault.vault import Vault

#: Records of one read: the others of a long journal do not wait in memory.
_CHUNK = 500


class _Piece(NamedTuple):
    data: bytes
    last_seq: int


class Transfer:
    """Carries journals and blobs between the database and workers."""

    def __init__(self, *, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    async def held(self, session_id: str, epoch: int | None = None) -> Session:
        """Return a session that a worker runs, under this epoch where one is given.

        Raises:
            NotFound: There is no such session.
            Conflict: Nobody runs it, or another attempt does.
        """
        session = await self._store.read(partial(sessions.by_id, session_id=session_id))
        if session is None:
            raise NotFound(f"there is no session {session_id}")
        if session.worker_id is None or (epoch is not None and session.epoch != epoch):
            raise Conflict(f"epoch {epoch} of session {session_id} is over", code="fenced")
        return session

    async def journal(self, session: Session, *, after: int = 0) -> AsyncIterator[bytes]:
        """Yield a session's journal as `past` frames, in the order of the commits, from behind `after` on."""
        while True:
            piece = await self._store.read(partial(self._piece, session=session, after=after))
            if piece is None:
                return
            yield piece.data
            after = piece.last_seq

    async def put_blob(self, session: Session, sha256: str, data: bytes) -> None:
        """Store a value that a record will name.

        Raises:
            Invalid: Its SHA-256 is another one.
            TooLarge: It is over the limit of a value.
        """
        if len(data) > wire.VALUE_LIMIT:
            raise TooLarge(f"a value of {len(data)} bytes is over the limit of {wire.VALUE_LIMIT}")
        if hashlib.sha256(data).hexdigest() != sha256:
            raise Invalid(f"these {len(data)} bytes are not the blob {sha256}")
        project_id = session.project_id
        await self._store.write(
            lambda tx: blobs.put(
                tx, project_id, sha256, data, lambda context, part: self._seal(tx, project_id, context, part)
            )
        )

    async def keep(self, session_id: str, epoch: int, value: bytes) -> str:
        """Store a large value of a session that runs; return its SHA-256 in hex, by which a record names it.

        Raises:
            NotFound: There is no such session.
            Conflict: Another attempt runs it by now.
            TooLarge: It is over the limit of a value.
        """
        session = await self.held(session_id, epoch)
        name = hashlib.sha256(value).hexdigest()
        await self.put_blob(session, name, value)
        return name

    async def get_blob(self, session: Session, sha256: str) -> bytes:
        """Return a value that a record of the session's project names.

        Raises:
            NotFound: There is none with this name.
        """
        found = await self._store.read(lambda tx: self._blob(tx, session.project_id, sha256))
        if found is None:
            raise NotFound(f"there is no blob {sha256}")
        return found

    def _piece(self, tx: Tx, session: Session, after: int) -> _Piece | None:
        rows = journal.of_session(tx, session.id, after=after, limit=_CHUNK)
        if not rows:
            return None
        return _Piece(b"".join(self._past(tx, session, row) for row in rows), rows[-1].seq)

    def _past(self, tx: Tx, session: Session, row: Row) -> bytes:
        body = b""
        if row.blob_sha256 is not None:
            body = self._blob(tx, session.project_id, row.blob_sha256) or b""
        elif row.sealed_value is not None:
            context = commit.context(session.id, row.key, "value")
            body = self._vault.open(tx, session.project_id, context, row.sealed_value)
        head = {
            "t": "past",
            "seq": row.seq,
            "track": row.track,
            "strand": row.strand,
            "n": row.n,
            "kind": row.kind,
            "name": row.name,
            "digest": row.digest.hex(),
            "status": row.status,
            "attempt": row.attempt,
            "start": seconds_of(row.started_at),
            "end": seconds_of(row.ended_at),
        }
        return wire.encode(head, body)

    def _blob(self, tx: Tx, project_id: str, sha256: str) -> bytes | None:
        return blobs.get(
            tx, project_id, sha256, lambda context, part: self._vault.open(tx, project_id, context, part)
        )

    def _seal(self, tx: Tx, project_id: str, context: str, part: bytes) -> bytes:
        return self._vault.seal(tx, project_id, context, part)
