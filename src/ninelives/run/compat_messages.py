"""Events and signals as the package `autokitteh` has them: its names, its time-outs, its error texts."""

import base64
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from ninelives import answers, arguments, messages
from ninelives.errors import NinelivesError, NoSuchSource
from ninelives.run.compat_values import plain, unwrapped, wrapped

Timeout = float | timedelta | None


def _error(text: str) -> Exception:
    made: Exception = sys.modules["autokitteh.errors"].AutoKittehError(text)
    return made


def _timeout(timeout: Timeout) -> Timeout:
    """Return a time-out in our meaning: there, zero is for ever."""
    return timeout or None


def subscribe(source: str, filter: str = "") -> str:
    """Subscribe; what is wrong is said in the words of the original server, which programs compare."""
    try:
        return messages.subscribe(source, filter)
    except NoSuchSource as error:
        what = "ambiguous" if "is a connection and a trigger" in str(error) else "not found"
        reason = f'subscribe({source}, {filter}) -> source "{source}" {what}'
        raise _error(f"subscribe: rpc error: code = Internal desc = {reason}") from error
    except ValueError as error:
        if not source:
            raise
        raise _error(f"subscribe: rpc error: code = Internal desc = {error}") from error


def unsubscribe(subscription_id: str) -> None:
    """Unsubscribe."""
    try:
        messages.unsubscribe(subscription_id)
    except ValueError as error:
        raise _error(f"unsubscribe: {error}") from error


def next_event(subscription_id: str | list[str], *, timeout: Timeout = None, full: bool = False) -> Any:
    """Wait for an event; errors carry the label that the original gives them all."""
    try:
        return messages.next_event(subscription_id, timeout=_timeout(timeout), full=full)
    except (NinelivesError, ValueError) as error:
        raise _error(f"next_event inside activity: {error}") from error


def start(
    loc: str, data: Mapping[str, Any] | None = None, memo: Mapping[str, str] | None = None, project: str = ""
) -> str:
    """Start another session; data that JSON cannot hold is a `ValueError` there."""
    if data is not None and not isinstance(data, Mapping):
        raise ValueError(f"start takes a mapping as data, not {type(data).__name__}: it becomes `event.data`")
    try:
        given = {"data": dict(data or {}), "memo": dict(memo or {})}
        arguments.plain("start", given, arguments.LARGEST)
    except TypeError as error:
        raise ValueError(str(error)) from error
    try:
        return answers.start(loc, data, memo, project)
    except (NinelivesError, ValueError) as error:
        raise _error(f"start: {str(error).removeprefix('start: ')}") from error


def signal(session_id: str, name: str, payload: Any = None) -> None:
    """Send a signal."""
    try:
        messages.signal(session_id, name, wrapped(payload))
    except (NinelivesError, ValueError) as error:
        raise _error(f"signal: {error}") from error


def next_signal(name: str | list[str], *, timeout: Timeout = None) -> Any:
    """Wait for a signal; the package's own class is returned."""
    try:
        found = messages.next_signal(name, timeout=_timeout(timeout))
    except (NinelivesError, ValueError) as error:
        raise _error(f"next_signal: {error}") from error
    return found and sys.modules["autokitteh.signals"].Signal(found.name, unwrapped(found.payload))


def outcome(v: Any, *, event_id: str | None = None) -> None:
    """Add to what an event came to; bytes may be the body of an answer."""
    if isinstance(v, Mapping) and isinstance(body := v.get("body"), bytes | bytearray):
        v = {**{name: item for name, item in v.items() if name != "body"}, "body_base64": _base64(body)}
    answers.outcome(plain(v), event_id=event_id)


def http_outcome(
    status_code: int = 200,
    body: Any = None,
    *,
    json: Any = None,
    headers: Mapping[str, str] | None = None,
    more: bool = False,
    event_id: str | None = None,
) -> None:
    """Answer a request; what is no text and no bytes is told as JSON."""
    body = body if isinstance(body, str | bytes | bytearray) else plain(body)
    answers.http_outcome(status_code, body, json=plain(json), headers=headers, more=more, event_id=event_id)


def _base64(body: bytes | bytearray) -> str:
    return base64.b64encode(body).decode()


EVENTS: dict[str, Callable[..., Any]] = {
    "subscribe": subscribe,
    "unsubscribe": unsubscribe,
    "start": start,
    "next_event": next_event,
}
SIGNALS: dict[str, Callable[..., Any]] = {"signal": signal, "next_signal": next_signal}
