"""Events and signals: what a session that runs can wait for.

    sub = ninelives.subscribe("crm", 'data.Amount > 1000.0')
    while (event := ninelives.next_event(sub, timeout=timedelta(days=30), full=True)) is not None:
        ...

In a durable session each of these happens exactly once, whatever crashes, and a long wait needs no process.
"""

import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ninelives import host
from ninelives.event import AttrDict, Event, attr_dict

#: How long a wait may last: seconds, or `None` for ever.
Timeout = float | timedelta | None


@dataclass(frozen=True, slots=True)
class Signal:
    """What another session sent, or that a child session has ended.

    Attributes:
        name: As it was sent; the child's id where it tells of a child's end.
        payload: JSON; of a child's end `{"completed": True, "value": …}` or `{"completed": False}`.
    """

    name: str
    payload: Any = None


def subscribe(source: str, filter: str = "") -> str:
    """Have the events of a connection or a trigger come to this session from now on.

    Args:
        source: The name of a connection or a trigger of the project.
        filter: CEL over `data` and `event_type`; empty lets everything pass. It stands in the place of the
            filter of a trigger that has a `call`; of one that has none, both must match.

    Returns:
        An id for `next_event` and `unsubscribe`.

    Raises:
        NoSuchSource: There is no such connection or trigger, or there are both.
        ValueError: No source is given, or the filter is wrong.
    """
    if not source or not isinstance(source, str):
        raise ValueError("subscribe needs the name of a connection or a trigger")
    return str(host.required("ninelives.subscribe").call("subscribe", {"source": source, "filter": filter}))


def unsubscribe(id: str) -> None:
    """End a subscription, and forget its events that were not read; it may have ended already.

    Raises:
        ValueError: The id is none that `subscribe` returned.
    """
    host.required("ninelives.unsubscribe").call("unsubscribe", {"id": id})


def next_event(id: str | Sequence[str], *, timeout: Timeout = None, full: bool = False) -> Any:
    """Wait for the next event of a subscription, or of any of several.

    Where several have events, the one whose id comes first in the list wins; events of one source keep
    their order.

    Args:
        id: What `subscribe` returned, or a list of such.
        timeout: Seconds or a `timedelta`; 0 looks and returns at once, `None` waits for ever.
        full: Return an `Event` instead of its data.

    Returns:
        The event's data as an `AttrDict`, or the `Event`; `None` where the time was over.

    Raises:
        ValueError: An id is no subscription of this session.
    """
    found = host.required("ninelives.next_event").wait("next_event", *_event_wait(id, timeout))
    return _event(found, full=full)


async def next_event_async(
    id: str | Sequence[str],
    *,
    timeout: Timeout = None,  # noqa: ASYNC109 - the same parameters
    full: bool = False,
) -> Any:
    """Do what `next_event` does while other tasks go on."""
    args = _event_wait(id, timeout)
    return _event(
        await host.required("ninelives.next_event_async").wait_async("next_event", *args), full=full
    )


def signal(session_id: str, name: str, payload: Any = None) -> None:
    """Send a signal to another session of the organisation; it is there until that session reads it.

    Args:
        session_id: As `start` returned it, or as the session told.
        name: What the other one waits for.
        payload: JSON.

    Raises:
        ValueError: There is no such session.
        SessionEnded: It has ended.
    """
    args = {"session_id": session_id, "name": name, "payload": payload}
    host.required("ninelives.signal").call("signal", args)


def next_signal(name: str | Sequence[str], *, timeout: Timeout = None) -> Signal | None:
    """Wait for the next signal of a name, or of any of several; the oldest comes first.

    The id of a session that this one has started is a name too: its signal comes when that session ends,
    where it is durable.

    Args:
        name: What the sender calls it, or a list of such.
        timeout: Seconds or a `timedelta`; 0 looks and returns at once, `None` waits for ever.

    Returns:
        The signal, which is not returned again; `None` where the time was over.
    """
    return _signal(host.required("ninelives.next_signal").wait("next_signal", *_signal_wait(name, timeout)))


async def next_signal_async(
    name: str | Sequence[str],
    *,
    timeout: Timeout = None,  # noqa: ASYNC109 - the same parameters
) -> Signal | None:
    """Do what `next_signal` does while other tasks go on."""
    args = _signal_wait(name, timeout)
    return _signal(await host.required("ninelives.next_signal_async").wait_async("next_signal", *args))


def _event_wait(id: str | Sequence[str], timeout: Timeout) -> tuple[dict[str, Any], list[str]]:
    ids = _list(id)
    return {"ids": ids, "timeout": _seconds(timeout)}, ids


def _signal_wait(name: str | Sequence[str], timeout: Timeout) -> tuple[dict[str, Any], list[str]]:
    names = _list(name)
    return {"names": names, "timeout": _seconds(timeout)}, [f"signal:{one}" for one in names]


def _list(value: str | Sequence[str]) -> list[str]:
    found = [value] if isinstance(value, str) else list(value)
    if not found:
        raise ValueError("there is nothing to wait for: the list is empty")
    return found


def _seconds(timeout: Timeout) -> float | None:
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if seconds is not None and seconds < 0:
        raise ValueError(f"a time-out must be non-negative, not {seconds}")
    return seconds


def _event(found: Mapping[str, Any] | None, *, full: bool) -> Any:
    if found is None:
        return None
    event = event_of(found)
    return event if full else event.data


def _signal(found: Mapping[str, Any] | None) -> Signal | None:
    return None if found is None else Signal(found["name"], attr_dict(found.get("payload")))


def event_of(document: Mapping[str, Any], session_id: str | None = None) -> Event:
    """Return an event as user code gets it; the bytes of an HTTP body are bytes.

    Text in their place that is no base64, as somebody may type who starts a session by hand, stays text.
    """
    data = attr_dict(dict(document.get("data") or {}))
    body = data.get("body")
    if isinstance(body, dict) and isinstance(body.get("bytes"), str):
        with suppress(ValueError):
            body["bytes"] = base64.b64decode(body["bytes"])
    return Event(AttrDict(data), document.get("event_id"), document.get("event_type"), session_id)
