"""Webhooks: any HTTP request to an unguessable address becomes an event.

Requests that arrive together share a unit and its look-ups; each has its own answer, after the commit.
The shape of `event.data` is what existing AutoKitteh projects read. The HTTP route is in `api.webhooks`.
"""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl

from ninelives import arguments
from ninelives_server.errors import Invalid, NinelivesError, NotFound, TooLarge, Unauthenticated
from ninelives_server.events import callers
from ninelives_server.events.grouped import Grouped
from ninelives_server.events.ingest import Ingest, Recorded, encode
from ninelives_server.ids import EventId
from ninelives_server.model.events import DEEPEST, NewEvent
from ninelives_server.store import triggers
from ninelives_server.store.core import Store, Tx
from ninelives_server.store.triggers import Hook

#: The largest body that is accepted where nobody says otherwise. bytes
BODY_LIMIT = 512 * 1024

#: Requests that one unit stores at most.
TOGETHER = 64

#: Headers by which senders name a delivery, the same each time they try it: ours by draft-ietf-httpapi-
#: idempotency-key-header, then GitHub, Shopify, Standard Webhooks, Svix.
_DELIVERY = ("idempotency-key", "x-github-delivery", "x-shopify-webhook-id", "webhook-id", "svix-id")

#: `version-trace-parent-flags` (W3C Trace Context, section 3.2).
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRequest:
    """What came in, as the HTTP server read it.

    Attributes:
        path_suffix: What follows the slug, without the leading slash.
        raw_url: As it was asked for, with the query.
        query: In order; names may repeat. So for headers.
    """

    slug: str
    path_suffix: str
    method: str
    raw_url: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Sequence[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)
    remote_addr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A request that was stored.

    Attributes:
        is_new: Not so where this delivery came before.
        is_sync: Its sender waits for what the session answers; see `replies`.
    """

    event_id: EventId
    is_new: bool
    is_sync: bool


class Variables(Protocol):
    """Where the secrets of webhooks come from (`projects.service`)."""

    def environment(self, tx: Tx, project_id: str) -> Mapping[str, str]:
        """Return a project's variables, opened."""
        ...


class Webhooks:
    """Turns requests into events."""

    def __init__(
        self, *, store: Store, ingest: Ingest, variables: Variables, body_limit: int = BODY_LIMIT
    ) -> None:
        """Refuse bodies of more than `body_limit` bytes."""
        self._store = store
        self._ingest = ingest
        self._variables = variables
        self._record = Grouped(self._record_all, largest=TOGETHER)
        self.body_limit = body_limit

    async def receive(self, request: WebhookRequest) -> EventId:
        """Store a request as an event, durably, and return the event's id; see `accept`."""
        return (await self.accept(request)).event_id

    async def accept(self, request: WebhookRequest) -> Receipt:
        """Store a request as an event, durably.

        A request that carries a delivery's name which was stored before gives the id of that event.

        Raises:
            NotFound: No trigger has this address, or its project has no active deployment.
            TooLarge: The body is over the limit.
            Unauthenticated: The trigger wants a credential, and this one will not do.
        """
        if len(request.body) > self.body_limit:
            raise TooLarge(f"a webhook's body may have at most {self.body_limit // 1024} KiB")
        data = data_of(request)
        try:
            encoded = encode(data)
        except Invalid:
            # JSON that Python reads and cannot write as UTF-8, such as half a surrogate pair: the bytes stay.
            data["body"]["json"] = None
            encoded = encode(data)
        return await self._record(_Arrived(request, data, encoded))

    async def _record_all(self, arrived: Sequence["_Arrived"]) -> Sequence[Receipt | Exception]:
        answers, recorded = await self._store.write(lambda tx: self._record_in(tx, arrived))
        self._ingest.announce(recorded)
        return answers

    def _record_in(
        self, tx: Tx, arrived: Sequence["_Arrived"]
    ) -> tuple[Sequence[Receipt | Exception], Sequence[Recorded]]:
        """Store requests that came together; each has an answer of its own. Return the events, too."""
        hooks = triggers.hooks(tx, {one.request.slug for one in arrived})
        environment = cache(partial(self._variables.environment, tx))
        found = [_let_in(one.request, hooks.get(one.request.slug), environment, tx.now) for one in arrived]
        let_in = [(one, hook) for one, hook in zip(arrived, found, strict=True) if isinstance(hook, Hook)]
        recorded = self._ingest.record_in(
            tx,
            [_event(one.request, hook, one.data) for one, hook in let_in],
            encoded=[one.encoded for one, _ in let_in],
            orgs={hook.project_id: hook.org_id for _, hook in let_in},
        )
        stored = iter(recorded)
        return [_receipt(hook, next(stored)) if isinstance(hook, Hook) else hook for hook in found], recorded


class _Arrived(NamedTuple):
    """A request that is to be stored, and its data in both forms."""

    request: WebhookRequest
    data: Mapping[str, Any]
    encoded: bytes


def _let_in(
    request: WebhookRequest,
    hook: Hook | None,
    environment: Callable[[str], Mapping[str, str]],
    now: datetime,
) -> Hook | NinelivesError:
    """Return the webhook that a request may call, or why it may not."""
    if hook is None:
        return NotFound("there is no webhook at this address, or its project is not deployed")
    if hook.auth is None:
        return hook
    secret = environment(hook.project_id).get(hook.auth["secret"], "")
    if not secret:
        # Without a secret anybody's would do: nobody comes in.
        return Unauthenticated("the webhook's secret is not set", code="webhook_refused")
    headers = {name.lower(): value for name, value in request.headers}
    try:
        callers.check(hook.auth, secret, headers=headers, body=request.body, now=now)
    except Unauthenticated as refused:
        return refused
    return hook


def _receipt(hook: Hook, stored: Recorded) -> Receipt:
    return Receipt(event_id=stored.event_id, is_new=stored.is_new, is_sync=hook.is_sync)


def _event(request: WebhookRequest, hook: Hook, data: Mapping[str, Any]) -> NewEvent:
    headers = {name.lower(): value for name, value in request.headers}
    return NewEvent(
        project_id=hook.project_id,
        trigger_id=hook.trigger_id,
        source_key=_source_key(hook.trigger_id, headers),
        event_type=request.method.lower(),
        data=data,
        memo={"method": request.method, "remote_addr": request.remote_addr, "path": request.path_suffix},
        traceparent=_traceparent(headers.get("traceparent", "")),
    )


def _source_key(trigger_id: str, headers: Mapping[str, str]) -> str:
    for name in _DELIVERY:
        if value := headers.get(name):
            digest = hashlib.sha256(f"{name}:{value}".encode()).hexdigest()
            return f"webhook:{trigger_id}:{digest}"
    return f"webhook:{trigger_id}:{secrets.token_hex(16)}"


def _traceparent(value: str) -> str | None:
    return value if _TRACEPARENT.fullmatch(value) and not value.startswith("ff") else None


def data_of(request: WebhookRequest) -> dict[str, Any]:
    """Return what `event.data` holds for a request."""
    return {
        "method": request.method,
        "raw_url": request.raw_url,
        "url": {
            "path": request.path,
            "query": _joined(request.query),
            "path_suffix": request.path_suffix,
        },
        "headers": _joined((canonical(name), value) for name, value in _foreign(request.headers)),
        "trailers": {},
        "body": _body(request.body, _content_type(request.headers)),
    }


def _content_type(headers: Iterable[tuple[str, str]]) -> str:
    return next((value for name, value in headers if name.lower() == "content-type"), "")


@lru_cache(maxsize=1024)
def canonical(name: str) -> str:
    """Return a header's name as Go's net/http writes it: `x-hub-signature` becomes `X-Hub-Signature`."""
    if not _TOKEN.fullmatch(name):
        return name
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: ", ".join(found) for name, found in values.items()}


def _foreign(headers: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Leave out our own cookies: project code must never see a login. `Host` is none of Go's headers."""
    for name, value in headers:
        if name.lower() == "host":
            continue
        if name.lower() != "cookie":
            yield name, value
            continue
        kept = [cookie for cookie in map(str.strip, value.split(";")) if cookie and not _is_ours(cookie)]
        if kept:
            yield name, "; ".join(kept)


def _is_ours(cookie: str) -> bool:
    name = cookie.partition("=")[0].strip().lower()
    return name.removeprefix("__host-").removeprefix("__secure-").startswith("ninelives")


def _body(body: bytes, content_type: str) -> dict[str, Any]:
    """Return the body in all forms that it has: bytes in base64; text, form and JSON where it is such.

    An empty body has none of them, as in AutoKitteh.
    """
    if not body:
        return {"bytes": None, "text": None, "form": None, "json": None}
    try:
        text: str | None = body.decode()
    except UnicodeDecodeError:
        text = None
    media_type = content_type.partition(";")[0].strip().lower()
    is_form = media_type == "application/x-www-form-urlencoded"
    return {
        "bytes": base64.b64encode(body).decode("ascii"),
        "text": text,
        "form": _joined(parse_qsl(text, keep_blank_values=True)) if is_form and text is not None else {},
        "json": None if text is None else _parsed(text),
    }


def _parsed(text: str) -> Any:
    """Return the first JSON value of a text, whatever its type says and whatever follows."""
    try:
        found = _JSON.raw_decode(text.lstrip(" \t\r\n"))[0]
    except (ValueError, RecursionError):
        return None
    if text.count("[") + text.count("{") > DEEPEST and arguments.depth(found) > DEEPEST:
        return None
    return found


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_JSON = json.JSONDecoder(parse_constant=_refuse)
