"""The log of requests, and rules that hold or replace the answer to the next request that fits them.

A held request is carried out at once; only its answer waits. Secrets in the log are shown as digests, so
that two requests can be compared and nothing leaks.
"""

import asyncio
import fnmatch
import hashlib
import itertools
import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ninelives_server.testing.fake_salesforce.http import Call, Reply

_SECRETS = {
    "access_token", "assertion", "client_assertion", "client_secret", "code", "code_verifier",
    "oauth_token", "password", "refresh_token", "token",
}  # fmt: skip
_KEPT = 100_000  # requests; older ones are forgotten


@dataclass(slots=True, kw_only=True)
class Entry:
    """One request and how it was answered.

    Attributes:
        body: Fields of a form or a JSON document; `None` for any other body.
        user: Username behind the access token, or `None`.
        status: HTTP status; 0 until it was answered.
        held: Whether the answer was held back by a rule.
    """

    number: int
    at: str
    method: str
    path: str
    query: dict[str, str]
    body: Any
    body_sha256: str
    user: str | None
    client: str | None
    status: int = 0
    seconds: float = 0.0
    held: bool = False


@dataclass(slots=True, kw_only=True)
class Rule:
    """Which requests are meant: method (`*` for any) and path, with `*` as in file names."""

    rule_id: str
    method: str
    path: str
    times: int

    def fits(self, call: Call) -> bool:
        """Say whether the rule still has a turn left and means this request."""
        return (
            self.times > 0
            and self.method.upper() in {"*", call.method}
            and fnmatch.fnmatchcase(call.path, self.path)
        )


@dataclass(slots=True, kw_only=True)
class Hold(Rule):
    """Hold back the answer until the rule is released.

    Attributes:
        arrived: Numbers of the log entries whose answers it held or holds.
        gone: How many of those clients hung up while they waited.
    """

    arrived: list[int] = field(default_factory=list)
    gone: int = 0
    released: bool = False
    waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Failure(Rule):
    """Answer something else; `applied` carries the request out all the same."""

    reply: Reply
    applied: bool = False


class Traffic:
    """Log and rules of one org; safe to use from any thread."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._entries: deque[Entry] = deque(maxlen=_KEPT)
        self._secrets: dict[str, dict[str, None]] = {}
        self._numbers = itertools.count(1)
        self._rule_numbers = itertools.count(1)
        self.holds: dict[str, Hold] = {}
        self.failures: list[Failure] = []

    # -- log ----------------------------------------------------------------------------------

    def arrive(self, call: Call, *, at: str, user: str | None, client: str | None) -> Entry:
        """Write a request into the log."""
        with self.changed:
            entry = Entry(
                number=next(self._numbers), at=at, method=call.method, path=call.path,
                query=_redacted(call.query), body=_readable(call),
                body_sha256=hashlib.sha256(call.body).hexdigest(), user=user, client=client,
            )  # fmt: skip
            self._entries.append(entry)
            self._keep_secrets(call)
            self.changed.notify_all()
            return entry

    def _keep_secrets(self, call: Call) -> None:
        scheme, _, token = call.header("authorization").partition(" ")
        found = [("access_token", token)] if scheme.lower() in {"bearer", "oauth"} else []
        found += [item for item in (*call.query.items(), *call.form().items()) if item[0] in _SECRETS]
        for name, value in found:
            self._secrets.setdefault(name, {})[value] = None

    def secrets(self) -> dict[str, list[str]]:
        """Return the secrets that arrived, by the name of their field, each once and in order."""
        with self.changed:
            return {name: list(values) for name, values in self._secrets.items()}

    def answered(self, entry: Entry, *, status: int, seconds: float) -> None:
        """Note how a request was answered."""
        with self.changed:
            entry.status, entry.seconds = status, round(seconds, 6)
            self.changed.notify_all()

    def entries(self, *, method: str = "*", path: str = "*", since: int = 0) -> list[Entry]:
        """Return the requests that fit, oldest first."""
        with self.changed:
            return [
                e for e in self._entries
                if e.number > since and method.upper() in {"*", e.method}
                and fnmatch.fnmatchcase(e.path, path)
            ]  # fmt: skip

    def forget(self) -> None:
        """Empty the log; numbers go on."""
        with self.changed:
            self._entries.clear()

    # -- rules --------------------------------------------------------------------------------

    def hold(self, *, method: str, path: str, times: int) -> Hold:
        """Add a rule that holds answers."""
        with self.changed:
            rule = Hold(rule_id=self._rule_id("hold"), method=method, path=path, times=times)
            self.holds[rule.rule_id] = rule
            return rule

    def fail(self, *, method: str, path: str, times: int, reply: Reply, applied: bool) -> Failure:
        """Add a rule that replaces answers."""
        with self.changed:
            rule = Failure(
                rule_id=self._rule_id("failure"), method=method, path=path, times=times, reply=reply,
                applied=applied,
            )  # fmt: skip
            self.failures.append(rule)
            return rule

    def _rule_id(self, kind: str) -> str:
        return f"{kind}_{next(self._rule_numbers)}"

    def take_failure(self, call: Call) -> Failure | None:
        """Return the rule that replaces the answer to this request, and use up one of its turns."""
        with self.changed:
            rule = next((r for r in self.failures if r.fits(call)), None)
            if rule:
                rule.times -= 1
            return rule

    def take_hold(self, call: Call, entry: Entry) -> tuple[Hold, asyncio.Event] | None:
        """Return the rule that holds the answer to this request, with the event to wait for."""
        with self.changed:
            rule = next((r for r in self.holds.values() if not r.released and r.fits(call)), None)
            if rule is None:
                return None
            rule.times -= 1
            rule.arrived.append(entry.number)
            entry.held = True
            event = asyncio.Event()
            rule.waiters.append((asyncio.get_running_loop(), event))
            self.changed.notify_all()
            return rule, event

    def hung_up(self, rule: Hold) -> None:
        """Note that a client did not wait for its held answer."""
        with self.changed:
            rule.gone += 1
            self.changed.notify_all()

    def release(self, rule: Hold) -> None:
        """Let the answers that a rule holds go, and hold no more."""
        with self.changed:
            rule.released = True
            waiters, rule.waiters = rule.waiters, []
            self.changed.notify_all()
        for loop, event in waiters:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def release_all(self) -> None:
        """Let every held answer go."""
        for rule in list(self.holds.values()):
            self.release(rule)

    def drop_failures(self) -> None:
        """Forget the rules that replace answers."""
        with self.changed:
            self.failures.clear()


def _redacted(fields: Mapping[str, str]) -> dict[str, str]:
    return {
        name: f"sha256:{hashlib.sha256(value.encode()).hexdigest()[:16]}" if name in _SECRETS else value
        for name, value in fields.items()
    }


def _readable(call: Call) -> Any:
    form = call.form()
    if form:
        return _redacted(form)
    if "json" in call.header("content-type"):
        try:
            return json.loads(call.body)
        except ValueError:
            return None
    return None
