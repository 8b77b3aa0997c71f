"""Forks: a new session that has done what another one did, up to a step, and goes on from there by itself.

It gets the records before that step, and everything that was pinned when the first one was made (inputs,
variables, seed), so that it replays to the same place. It may run another build of the project. Calls that
the server answered are records like any other: they are not done again, and ids of children are data. Only
subscriptions are made anew, so that the fork gets events of its own, from then on; what the other one has not
read yet, the fork may read too. It has the other one's key, so it needs that to be free.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ninelives.run import semantics
from ninelives_server import ids
from ninelives_server.errors import Conflict, Invalid, KeyReused, NotFound
from ninelives_server.model.actors import Actor
from ninelives_server.model.projects import Build
from ninelives_server.model.sessions import CARRIED, SEMANTICS, NewSession, Session
from ninelives_server.sessions import commit
from ninelives_server.sessions.start import Starts
from ninelives_server.store import audit, blobs, builds, inbox, journal, queues, sessions, subscriptions
from ninelives_server.store.core import Tx
from ninelives_server.store.journal import Row
from ninelives_server.vault.vault import Vault

#: Which build a fork runs, where it is not named by its id.
SAME, NEWEST = "same", "newest"
#: How a fork remembers where it comes from, in its memo (`_at` would be the name of a time).
FROM, BEFORE = "forked_from", "forked_before_step"
_CHUNK = 500


class Forks:
    """Makes forks."""

    def __init__(self, *, vault: Vault, starts: Starts) -> None:
        self._vault = vault
        self._starts = starts

    def fork(
        self, tx: Tx, actor: Actor, source: Session, *, from_step: int, build: str, once: str | None = None
    ) -> Session:
        """Make a session that goes on before the record `from_step` of another one.

        The same `once` gets the fork that was made for it before, as long as that is kept.

        Raises:
            KeyReused: That fork is from another step, or of another build.
            Invalid: There is no such step, or the build cannot run it.
            NotFound: The project has no such build.
            Conflict: A session with the same key runs.
        """
        new_id = ids.new("ses")
        if once is not None:
            new_id = ids.derived("ses", hashlib.sha256(once.encode()).digest())
            if (there := sessions.by_id(tx, new_id)) is not None:
                # Which build is the newest may have changed since.
                asked = build if build not in {SAME, NEWEST} else source.build_id
                is_same_build = build == NEWEST or there.build_id == asked
                if there.memo.get(BEFORE) != str(from_step) or not is_same_build:
                    raise KeyReused
                return there
        key = _free_key(tx, source)
        found = _build(tx, source, build)
        last = journal.heads(tx, [source.id])[source.id].next_seq
        _check(source, found, from_step, last)
        new = NewSession(
            id=new_id,
            org_id=source.org_id,
            project_id=source.project_id,
            deployment_id=_deployment(tx, source, found),
            build_id=found.id,
            entrypoint=source.entrypoint,
            is_durable=source.is_durable,
            data={},  # with everything else that is pinned, see `Starts.copy`
            event_id=source.event_id,
            parent_id=source.parent_id,
            record_id=source.record_id,
            memo={**source.memo, FROM: source.id, BEFORE: str(from_step)},
            traceparent=source.traceparent,
            created_by=actor.id,
            queue_key=key,
        )
        self._starts.copy(tx, source.id, new, _semantics(tx, source, from_step))
        listening: dict[str, tuple[str, str]] = {}
        stored = 0
        for rows in self._copies(tx, source, new.id, from_step):
            journal.insert(tx, rows)
            for row in rows:
                stored += _size(tx, source, row)
                self._follow(tx, new, row, listening)
        _subscribe(tx, new, listening)
        self._hand_mail(tx, source, new, listening)
        head = journal.heads(tx, [new.id])[new.id]
        journal.advance(tx, [head._replace(next_seq=from_step, journal_bytes=stored)])
        details = {"from": source.id, "from_step": from_step, "build_id": str(found.id)}
        audit.record(tx, actor, "session.forked", new.id, project_id=new.project_id, details=details)
        made = sessions.by_id(tx, new.id)
        assert made is not None
        return made

    def _copies(self, tx: Tx, source: Session, new_id: str, before: int) -> Iterator[list[Row]]:
        """Yield the records before a step as those of the new session, sealed anew for it."""
        after = 0
        while rows := journal.of_session(tx, source.id, after=after, limit=_CHUNK):
            yield [self._copy(tx, source, new_id, row) for row in rows if row.seq < before]
            after = rows[-1].seq
            if after >= before:
                return

    def _follow(self, tx: Tx, new: NewSession, row: Row, listening: dict[str, tuple[str, str]]) -> None:
        """Keep account of which subscriptions are in force: name and filter by id."""
        if row.name not in {"subscribe", "unsubscribe"} or row.status != "ok" or row.sealed_value is None:
            return
        context = commit.context(new.id, row.key, "value")
        came = _told(self._vault.open(tx, new.project_id, context, row.sealed_value))
        args = came.get("args")
        if not isinstance(args, dict):
            return
        if row.name == "unsubscribe":
            listening.pop(str(args.get("id")), None)
        elif "source" in args and ids.is_id(str(came.get("value")), "sub"):
            listening[str(came["value"])] = (str(args["source"]), str(args.get("filter") or ""))

    def _hand_mail(self, tx: Tx, source: Session, new: NewSession, listening: Mapping[str, object]) -> None:
        """Give a fork what its source has not read: signals, and events of the subscriptions that it has."""
        for item in inbox.unread(tx, source.id):
            if item.kind == "event" and item.topic not in listening:
                continue
            item_id, sealed = inbox.new_id(), item.sealed_payload
            if sealed is not None:
                plain = self._vault.open(tx, source.project_id, inbox.context(item.id), sealed)
                sealed = self._vault.seal(tx, new.project_id, inbox.context(item_id), plain)
            inbox.put(
                tx,
                item_id,
                new.id,
                kind=item.kind,
                name=item.name,
                topic=item.topic,
                event_id=item.event_id,
                sealed_payload=sealed,
            )

    def _copy(self, tx: Tx, source: Session, new_id: str, row: Row) -> Row:
        def again(sealed: bytes | None, column: str) -> bytes | None:
            if sealed is None:
                return None
            plain = self._vault.open(
                tx, source.project_id, commit.context(source.id, row.key, column), sealed
            )
            return self._vault.seal(tx, source.project_id, commit.context(new_id, row.key, column), plain)

        return row._replace(
            session_id=new_id,
            epoch=0,
            sealed_value=again(row.sealed_value, "value"),
            sealed_preview=again(row.sealed_preview, "preview"),
            journal_bytes=0,
        )


def _told(text: bytes) -> dict[str, Any]:
    """Return what a call's record says; nothing where project code has written it."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _semantics(tx: Tx, source: Session, from_step: int) -> int:
    """Return the version of the rules that a fork keeps to: its records', or today's where it has none."""
    pinned = sessions.pinned(tx, source.id).semantics
    if from_step == 1:
        return SEMANTICS
    if pinned not in CARRIED:
        message = (
            f"the journal of session {source.id} is of semantics version {pinned}, and this release carries "
            f"{semantics.words(CARRIED)}; it can be forked from step 1 only"
        )
        raise Invalid(message, fields={"from_step": message})
    return pinned


def _free_key(tx: Tx, source: Session) -> str | None:
    """Return the key that a fork has, with nobody else taking it meanwhile; `None` where there is none.

    Raises:
        Conflict: It is in use.
    """
    key = queues.key_of(tx, source.id)
    if key is None:
        return None
    queues.lock(tx, source.project_id)
    holder = queues.holder_of(tx, source.project_id, key)
    if holder is not None:
        raise Conflict(
            f"session {holder} has the same key and has not ended, and of each key one session runs at a "
            f"time; stop it with `ninelives session stop {holder}`, or fork when it has ended"
        )
    return key


def _size(tx: Tx, source: Session, row: Row) -> int:
    blob = 0 if row.blob_sha256 is None else blobs.size(tx, source.project_id, row.blob_sha256)
    return row.inline_bytes + blob


def _subscribe(tx: Tx, new: NewSession, listening: Mapping[str, tuple[str, str]]) -> None:
    """Subscribe a fork to what it listens to; to a connection or trigger that is gone it cannot."""
    for subscription_id, (name, expression) in listening.items():
        found = subscriptions.sources(tx, new.project_id, name)
        if len(found) == 1:
            subscriptions.insert(
                tx,
                subscription_id,
                session_id=new.id,
                project_id=new.project_id,
                source=found[0],
                expression=expression,
            )


def _check(source: Session, build: Build, from_step: int, next_seq: int) -> None:
    if not 1 <= from_step <= next_seq:
        message = (
            f"session {source.id} has records 1 to {next_seq - 1}; it can be forked from 1 to {next_seq}"
        )
        raise Invalid(message, fields={"from_step": message})
    if not source.is_durable and from_step > 1:
        message = f"session {source.id} is not durable: it has no journal, and can be forked from step 1 only"
        raise Invalid(message, fields={"from_step": message})
    there = [f"{item.file}:{item.name}" for item in build.entrypoints]
    if source.entrypoint not in there:
        known = ", ".join(sorted(there)[:10]) or "nothing"
        message = f"build {build.id} has no {source.entrypoint}; it has {known}"
        raise Invalid(message, fields={"build": message})


def _build(tx: Tx, source: Session, wanted: str) -> Build:
    """Return the build that a fork is to run."""
    if wanted == SAME:
        found = builds.by_id(tx, source.build_id)
    elif wanted == NEWEST:
        found = builds.of_project(tx, source.project_id)[0]
    else:
        found = builds.by_id(tx, wanted)
    if found is None or found.project_id != source.project_id:
        raise NotFound(f"the session's project has no build {wanted}; see `ninelives build list`")
    return found


def _deployment(tx: Tx, source: Session, build: Build) -> str | None:
    """Return the deployment that the fork belongs to: the session's own, else the newest of its build."""
    if build.id == source.build_id and source.deployment_id is not None:
        return source.deployment_id
    found: Sequence[str] = [
        d.id for d in builds.deployments_of(tx, source.project_id) if d.build_id == build.id
    ]
    return found[0] if found else None
