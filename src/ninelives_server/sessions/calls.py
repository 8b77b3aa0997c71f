"""Calls that the server answers: each changes the database and is recorded in one transaction.

So each happens exactly once, whatever crashes. A call without a key (made inside a step, or by a session that
is not durable) is simply done. Values are JSON. `token` is no such call: it talks to a provider, leaves no
record, and is answered by `sessions.link`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ninelives import arguments
from ninelives_server import ids
from ninelives_server.errors import Invalid
from ninelives_server.model import headers
from ninelives_server.model.sessions import NewSession, Session
from ninelives_server.sessions.mail import ChecksFilters, Mail
from ninelives_server.sessions.records import Call, CallFailed
from ninelives_server.sessions.start import Starts
from ninelives_server.sessions.values import Data, checked_key
from ninelives_server.store import inbox, outcomes, queues, sessions, values
from ninelives_server.store.core import Tx
from ninelives_server.store.journal import Head
from ninelives_server.vault.vault import Vault

_Run = Callable[[Tx, Head, Mapping[str, Any], Call], Any]


class StartsChildren(Protocol):
    """The door through which child sessions come (`events.children`)."""

    def start(self, tx: Tx, new: NewSession) -> None:
        """Make a child session in the unit of its parent's call; nothing where it is there already."""
        ...


class Calls:
    """What sessions may ask of the database."""

    def __init__(
        self, *, vault: Vault, starts: Starts, filters: ChecksFilters, children: StartsChildren
    ) -> None:
        self._children = children
        self._vault = vault
        self._starts = starts
        self._mail = Mail(vault=vault, filters=filters)
        self._data = Data(vault=vault)
        self.give_back = self._mail.give_back
        self._by_name: dict[str, _Run] = {
            "store.get": self._get,
            "store.set": self._set,
            "store.del": self._del,
            "store.add": self._add,
            "store.check_and_set": self._check_and_set,
            "store.list": self._list,
            "store.publish": self._publish,
            "store.unpublish": self._unpublish,
            "outcome": self._outcome,
            "start": self._start,
            **self._mail.calls(),
        }

    def run(self, tx: Tx, head: Head, call: Call) -> Any:
        """Do what a call asks for and return a JSON value, or `mail.NOTHING` where a wait has to go on.

        Raises:
            CallFailed: User code is told what was wrong.
        """
        run = self._by_name.get(call.name)
        if run is None:
            raise CallFailed("NotImplementedError", f"this server has no call {call.name!r}; upgrade it")
        try:
            # Here too: what the database refuses would take everybody's unit with it.
            arguments.check_names(call.name, call.args)
            args = arguments.unpacked(call.name, call.args, call.body)
        except (TypeError, ValueError) as error:
            raise CallFailed(type(error).__name__, str(error)) from error
        try:
            return run(tx, head, args, call)
        except Invalid as error:
            raise CallFailed("ValueError", str(error)) from error
        except KeyError as error:
            raise CallFailed("TypeError", f"{call.name}: the argument {error} is missing") from error

    # --- the store --------------------------------------------------------------------------------

    def _get(self, tx: Tx, head: Head, args: Mapping[str, Any], _call: Call) -> Any:
        return self._data.load(tx, head.project_id, checked_key(args["key"]))

    def _set(self, tx: Tx, head: Head, args: Mapping[str, Any], _call: Call) -> Any:
        key = self._locked(tx, head, args)
        self._data.save(tx, head.project_id, key, args["value"])

    def _del(self, tx: Tx, head: Head, args: Mapping[str, Any], _call: Call) -> Any:
        return values.delete(tx, head.project_id, self._locked(tx, head, args))

    def _add(self, tx: Tx, head: Head, args: Mapping[str, Any], _call: Call) -> Any:
        key, operand = self._locked(tx, head, args), args["value"]
        current = self._data.load(tx, head.project_id, key)
        if not _is_number(operand) or not (current is None or _is_number(current)):
            kind = type(operand if not _is_number(operand) else current).__name__
            raise CallFailed("TypeError", f"only numbers can be added; {key!r} meets a {kind}")
        try:
            total = operand if current is None else current + operand
            json.dumps(total, allow_nan=False)
        except (OverflowError, ValueError) as error:
            raise CallFailed("ValueError", f"the sum for {key!r} is no number that can be stored") from error
        self._data.save(tx, head.project_id, key, total)
        return total

    def _check_and_set(self, tx: Tx, head: Head, args: Mapping[str, Any], _call: Call) -> Any:
        key = self._locked(tx, head, args)
        if self._data.load(tx, head.project_id, key) != args["expected"]:
            return False
        self._data.save(tx, head.project_id, key, args["value"])
        return True

    def _locked(self, tx: Tx, head: Head, args: Mapping[str, Any]) -> str:
        """Return the key of a change, with nobody else changing the project's values."""
        key = checked_key(args["key"])
        values.lock(tx, head.project_id)
        return key

    def _list(self, tx: Tx, head: Head, _args: Mapping[str, Any], _call: Call) -> Any:
        return values.keys(tx, head.project_id)

    def _publish(self, tx: Tx, head: Head, args: Mapping[str, Any], _call: Call) -> Any:
        key = checked_key(args["key"])
        if not values.publish(tx, head.project_id, key, is_published=True):
            raise CallFailed("KeyError", f"the store has no value for {key!r} to publish")

    def _unpublish(self, tx: Tx, head: Head, args: Mapping[str, Any], _call: Call) -> Any:
        return values.publish(tx, head.project_id, checked_key(args["key"]), is_published=False)

    # --- events and sessions ----------------------------------------------------------------------

    def _outcome(self, tx: Tx, head: Head, args: Mapping[str, Any], _call: Call) -> Any:
        session = sessions.by_id(tx, head.id)
        # A child has an event of its own, and nobody waits for an answer to that.
        own = None if session is None or session.parent_id else sessions.event_of(tx, session)
        event_id = args.get("event_id") or own
        if not event_id:
            raise CallFailed("ValueError", "there is no event to answer; pass event_id=")
        if not isinstance(event_id, str) or not sessions.owns_event(tx, head.project_id, event_id):
            raise CallFailed("ValueError", f"the project has no event {event_id!r} to answer")
        if (wrong := _wrong_header(args["value"])) is not None:
            raise CallFailed("ValueError", f"http_outcome: {wrong}")
        outcome_id = outcomes.new_id()
        text = json.dumps(args["value"]).encode()
        sealed = self._vault.seal(tx, head.project_id, outcomes.context(outcome_id), text)
        outcomes.insert(tx, outcome_id, event_id=event_id, session_id=head.id, sealed_value=sealed)

    def _start(self, tx: Tx, head: Head, args: Mapping[str, Any], call: Call) -> Any:
        """Start a child session; its id is derived from the parent's key, so that it is made once."""
        parent = sessions.by_id(tx, head.id)
        assert parent is not None
        loc, project = str(args["loc"]), args.get("project")
        data, memo = (_object(args, name) for name in ("data", "memo"))
        target = sessions.Target(parent.project_id, parent.deployment_id, parent.build_id)
        if project:
            found = sessions.active_target(tx, head.org_id, str(project))
            if found is None:
                raise CallFailed("ValueError", f"there is no project {project!r} with an active deployment")
            target = found
        if loc not in (names := sessions.entrypoints(tx, target.build_id)):
            known = ", ".join(sorted(names)[:10]) or "nothing"
            raise CallFailed("ValueError", f"start: there is no {loc!r} in the build; it has {known}")
        new = NewSession(
            id=_child_id(head, call),
            org_id=head.org_id,
            project_id=target.project_id,
            deployment_id=target.deployment_id,
            build_id=target.build_id,
            entrypoint=loc,
            is_durable=parent.is_durable,
            data=data,
            memo={key: str(value) for key, value in memo.items()},
            parent_id=parent.id,
            traceparent=parent.traceparent,
            created_by=parent.id,
        )
        self._children.start(tx, new)
        return new.id

    def restart(self, tx: Tx, session: Session, data: Mapping[str, Any]) -> str:
        """Make the successor of a session that is about to end; it gets its inbox, subscriptions, children.

        It runs what is in service now, where that still has the entry point: a restart is the moment at
        which a long-lived session can take up new code.
        """
        target = sessions.Target(session.project_id, session.deployment_id, session.build_id)
        active = sessions.active_target(tx, session.org_id, session.project_id)
        if active is not None and session.entrypoint in sessions.entrypoints(tx, active.build_id):
            target = active
        new = NewSession(
            id=ids.new("ses"),
            org_id=session.org_id,
            project_id=target.project_id,
            deployment_id=target.deployment_id,
            build_id=target.build_id,
            entrypoint=session.entrypoint,
            is_durable=session.is_durable,
            data=data,
            # The event itself has its session: the successor is known by its trigger only.
            trigger_id=session.trigger_id,
            record_id=session.record_id,
            parent_id=session.parent_id,
            first_id=session.first_id or session.id,
            memo={**session.memo, "restarted_from": session.id},
            traceparent=session.traceparent,
            created_by=session.created_by,
            # It keeps its predecessor's place: others of the same key wait for its end.
            queue_key=queues.key_of(tx, session.id),
        )
        self._starts.create(tx, new)
        inbox.hand_over(tx, session.id, new.id)
        sessions.succeed(tx, session.id, new.id)
        return new.id


def _child_id(head: Head, call: Call) -> str:
    if call.key is None:
        return ids.new("ses")
    strand, n = call.key
    return ids.derived("ses", hashlib.sha256(f"{head.id}\0{strand}\0{n}".encode()).digest())


def _wrong_header(value: Any) -> str | None:
    """Return what is wrong with the headers of what `http_outcome` has made; it gives all of these keys.

    Here and not in the SDK: the error is the call's record, and sessions that have made such a call replay.
    """
    is_answer = isinstance(value, Mapping) and {"status_code", "headers", "more"} <= value.keys()
    return headers.wrong(value["headers"]) if is_answer else None


def _object(args: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an argument of `start` that is an object, or nothing."""
    found = args.get(name) or {}
    if not isinstance(found, dict):
        raise CallFailed("TypeError", f"start: {name} is an object of names and values")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
