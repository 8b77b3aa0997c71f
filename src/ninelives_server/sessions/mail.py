"""Subscriptions, signals, and the waits that they end: the part of sessions' calls that concerns inboxes.

A wait looks into the inbox in the transaction that records what it found, so that nothing is delivered twice
or lost. One that finds nothing is `NOTHING`: the session waits on, and asks again when it has mail.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from ninelives import arguments
from ninelives_server import ids
from ninelives_server.model.sessions import Session, SessionState
from ninelives_server.sessions.records import Call, CallFailed
from ninelives_server.store import events, inbox, sessions, subscriptions
from ninelives_server.store.core import Tx
from ninelives_server.store.inbox import Item
from ninelives_server.store.journal import Head
from ninelives_server.vault.vault import Vault

#: What a wait comes to that has found nothing yet.
NOTHING: Final = object()
#: The longest name of a signal; the column's length. characters
NAME_LIMIT = 200
#: The largest payload of a signal; of a child's end, one that holds the largest result. bytes
PAYLOAD_LIMIT = arguments.LARGEST + 1024
#: What no database has in texts: NUL, and halves of surrogate pairs.
_UNSTORED: Final = re.compile("[\0\ud800-\udfff]")
#: Ids or names of one wait.
WAIT_LIMIT = 1000

Run = Callable[[Tx, Head, Mapping[str, Any], Call], Any]


class ChecksFilters(Protocol):
    """Knows the language of filters (`events.filters`)."""

    def check(self, expression: str) -> str | None:
        """Return what is wrong with an expression, or `None`."""
        ...


class Mail:
    """What sessions ask about inboxes."""

    def __init__(self, *, vault: Vault, filters: ChecksFilters) -> None:
        self._vault = vault
        self._filters = filters

    def calls(self) -> dict[str, Run]:
        """Return what is done by name; of `next_event` and `next_signal` the result may be `NOTHING`."""
        return {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "next_event": self._next_event,
            "signal": self._signal,
            "next_signal": self._next_signal,
        }

    # --- subscriptions ----------------------------------------------------------------------------

    def _subscribe(self, tx: Tx, head: Head, args: Mapping[str, Any], call: Call) -> Any:
        name, expression = str(args["source"]), str(args.get("filter") or "")
        found = subscriptions.sources(tx, head.project_id, name)
        if not found:
            known = ", ".join(subscriptions.names(tx, head.project_id)[:20]) or "nothing"
            message = f"there is no connection or trigger {name!r} to subscribe to; the project has {known}"
            raise CallFailed("NoSuchSource", message)
        if len(found) > 1:
            message = f"{name!r} is a connection and a trigger; rename one of them to subscribe to the other"
            raise CallFailed("NoSuchSource", message)
        if (wrong := self._filters.check(expression)) is not None:
            raise CallFailed("ValueError", f"the filter {expression!r} is wrong: {wrong}")
        subscription_id = _subscription_id(head, call)
        subscriptions.insert(
            tx,
            subscription_id,
            session_id=head.id,
            project_id=head.project_id,
            source=found[0],
            expression=expression,
        )
        return subscription_id

    def _unsubscribe(self, tx: Tx, head: Head, args: Mapping[str, Any], _call: Call) -> Any:
        subscription_id = str(args["id"])
        if not ids.is_id(subscription_id, "sub"):
            raise CallFailed("ValueError", f"{subscription_id!r} is no id that subscribe returned")
        subscriptions.delete(tx, head.id, subscription_id)
        inbox.remove_topic(tx, head.id, subscription_id)

    def _next_event(self, tx: Tx, head: Head, args: Mapping[str, Any], _call: Call) -> Any:
        wanted = _texts(args["ids"], "subscription")
        _see_timeout(args)
        known = subscriptions.known(tx, head.id, wanted)
        if unknown := [one for one in wanted if one not in known]:
            message = f"this session has no subscription {unknown[0]!r}; use what subscribe returned"
            raise CallFailed("ValueError", message)
        for topic in wanted:
            while (item := inbox.first(tx, head.id, [topic])) is not None:
                inbox.remove(tx, item.id)
                if (event := self._event(tx, head, item)) is not None:
                    return event
        return NOTHING

    def _event(self, tx: Tx, head: Head, item: Item) -> Mapping[str, Any] | None:
        """Return the event that an item is about; `None` where it has been deleted meanwhile."""
        event = item.event_id and events.by_id(tx, item.event_id)
        sealed = item.event_id and events.sealed_data(tx, item.event_id)
        # What a session has given back may be anything that it says it was given.
        if not event or not sealed or event.project_id != head.project_id:
            return None
        data = self._vault.open(tx, head.project_id, f"events:{event.id}:sealed_data", sealed)
        return {
            "subscription": item.topic,
            "event_id": event.id,
            "event_type": event.event_type,
            "data": json.loads(data),
        }

    def give_back(self, tx: Tx, head: Head, found: Mapping[str, Any]) -> None:
        """Put what a wait has found back into the inbox, before everything else.

        Its record may be any that project code has written under a wait's name: that is nothing to put back.
        """
        names = ("subscription", "event_id", "event_type") if "subscription" in found else ("name",)
        if not all(_is_name(found.get(name)) for name in names):
            return
        if "subscription" in found:
            inbox.put_back(
                tx,
                inbox.new_id(),
                head.id,
                kind="event",
                name=found["event_type"],
                topic=found["subscription"],
                event_id=found["event_id"],
            )
            return
        item_id, text = inbox.new_id(), _encoded(found.get("payload"))
        inbox.put_back(
            tx,
            item_id,
            head.id,
            kind="signal",
            name=found["name"],
            topic=inbox.signal_topic(found["name"]),
            sealed_payload=self._vault.seal(tx, head.project_id, inbox.context(item_id), text),
        )

    # --- signals ----------------------------------------------------------------------------------

    def _signal(self, tx: Tx, head: Head, args: Mapping[str, Any], _call: Call) -> Any:
        session_id, name = str(args["session_id"]), args["name"]
        if not isinstance(name, str) or not 0 < len(name) <= NAME_LIMIT:
            raise CallFailed("ValueError", f"a signal's name is a text of 1 to {NAME_LIMIT} characters")
        target = sessions.newest(tx, session_id)
        if target is None or target.org_id != head.org_id:
            raise CallFailed("ValueError", f"there is no session {session_id!r} to signal")
        if target.state.is_terminal:
            message = f"session {session_id} has ended ({target.state}); it takes no signals any more"
            raise CallFailed("SessionEnded", message)
        send(tx, self._vault, target, name, args.get("payload"))

    def _next_signal(self, tx: Tx, head: Head, args: Mapping[str, Any], _call: Call) -> Any:
        names = _texts(args["names"], "signal")
        _see_timeout(args)
        item = inbox.first(tx, head.id, [inbox.signal_topic(name) for name in names])
        if item is None:
            return NOTHING
        inbox.remove(tx, item.id)
        payload = None
        if item.sealed_payload is not None:
            sealed = item.sealed_payload
            payload = json.loads(self._vault.open(tx, head.project_id, inbox.context(item.id), sealed))
        return {"name": item.name, "payload": payload}


def send(tx: Tx, vault: Vault, target: Session, name: str, payload: Any) -> None:
    """Put a signal into a session's inbox.

    Raises:
        CallFailed: The payload is too large.
    """
    text = _encoded(payload)
    if len(text) > PAYLOAD_LIMIT:
        message = f"the payload of signal {name!r} has {len(text)} bytes; {PAYLOAD_LIMIT} are allowed"
        raise CallFailed("ValueError", message)
    item_id = inbox.new_id()
    inbox.put(
        tx,
        item_id,
        target.id,
        kind="signal",
        name=name,
        topic=inbox.signal_topic(name),
        sealed_payload=vault.seal(tx, target.project_id, inbox.context(item_id), text),
    )


def _encoded(payload: Any) -> bytes:
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "backslashreplace")


def tell_parent(tx: Tx, vault: Vault, child: Session, state: SessionState, result: bytes | None) -> None:
    """Signal a durable session's end to the one that started it, under the id that this one knows."""
    if child.parent_id is None or not child.is_durable:
        return
    parent = sessions.by_id(tx, child.parent_id)
    if parent is None or parent.state.is_terminal:
        return
    payload: dict[str, Any] = {"completed": state is SessionState.COMPLETED}
    if payload["completed"]:
        fits = result is not None and len(result) <= PAYLOAD_LIMIT - 100
        payload["value"] = json.loads(result) if fits and result is not None else None
    send(tx, vault, parent, child.first_id or child.id, payload)


def _subscription_id(head: Head, call: Call) -> str:
    if call.key is None:
        return ids.new("sub")
    strand, n = call.key
    return ids.derived("sub", hashlib.sha256(f"{head.id}\0{strand}\0{n}".encode()).digest())


def _texts(value: Any, what: str) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise CallFailed("ValueError", f"a wait needs at least one {what}, by name or id")
    if len(value) > WAIT_LIMIT:
        raise CallFailed("ValueError", f"one wait takes at most {WAIT_LIMIT} of these, not {len(value)}")
    return value


def _is_name(value: object) -> bool:
    """Tell whether this is a name that an inbox's columns take."""
    return isinstance(value, str) and 0 < len(value) <= NAME_LIMIT and _UNSTORED.search(value) is None


def _see_timeout(args: Mapping[str, Any]) -> None:
    timeout = args.get("timeout")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
        raise CallFailed("TypeError", f"a wait's timeout is a number of seconds, not {str(timeout)[:100]!r}")
