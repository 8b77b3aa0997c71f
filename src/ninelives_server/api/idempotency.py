"""`Idempotency-Key` on POST, PUT, PATCH and DELETE below `/api/v1`: the same key again gets the first answer.

A key belongs to the credential and the path that it came with, and lives for a day. The same key with another
body is a mistake of the caller and refused. Answers of 500 and above are not kept: those may be tried again.
Answers are kept for callers with a valid credential only, and given again only as long as it is valid.

An answer is kept after what it tells of was committed, and a server may die between the two. What starts a
session therefore keeps the key in the unit that starts it (`auth.TheKey`), and is done once all the same.
"""

import asyncio
import hashlib
import json

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ninelives_server.api.auth import KEY, actor_of
from ninelives_server.errors import KeyReused, NinelivesError
from ninelives_server.services import Services

_METHODS = {"POST", "PUT", "PATCH", "DELETE"}
#: Larger requests are not replayed from memory and pass without the promise. bytes
BODY_LIMIT = 1024 * 1024


class IdempotencyKeys:
    """Remembers answers by key; requests with the same key wait for each other."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._busy: dict[bytes, _Turn] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        key = _key_of(scope)
        if key is None or not await _is_known(scope):
            await self._app(scope, receive, send)
            return
        body = await _whole(receive)
        digest = hashlib.sha256(body).digest()
        turn = self._busy.setdefault(key, _Turn())
        turn.count += 1
        try:
            async with turn.lock:
                await self._serve(scope, body, send, key, digest)
        finally:
            turn.count -= 1
            if not turn.count:
                del self._busy[key]

    async def _serve(self, scope: Scope, body: bytes, send: Send, key: bytes, digest: bytes) -> None:
        services: Services = scope["app"].state.services
        known = await services.idempotency.recall(key)
        if known is not None:
            if known.request != digest:
                await _answer(send, 422, _reused(scope))
                return
            await _answer(send, known.status, known.body, replayed=True)
            return
        scope.setdefault("state", {})[KEY] = key.hex()
        recorder = _Recorder(send)
        await self._app(scope, _again(body), recorder)
        if recorder.status < 500 and len(recorder.body) <= BODY_LIMIT:
            await services.idempotency.remember(key, digest, recorder.status, bytes(recorder.body))


class _Turn:
    """Those with one key that are served or wait for it, one after the other."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.count = 0


class _Recorder:
    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500
        self.body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
        await self._send(message)


def _key_of(scope: Scope) -> bytes | None:
    if scope["type"] != "http" or scope["method"] not in _METHODS or not scope["path"].startswith("/api/v1/"):
        return None
    headers = dict(scope["headers"])
    given = headers.get(b"idempotency-key")
    length = headers.get(b"content-length", b"0")
    if not given or len(given) > 200 or not length.isdigit() or int(length) > BODY_LIMIT:
        return None
    who = headers.get(b"authorization", b"") + headers.get(b"cookie", b"")
    parts = (who, scope["method"].encode(), scope["path"].encode(), scope.get("query_string", b""), given)
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).digest()


async def _is_known(scope: Scope) -> bool:
    """Say whether the caller's credential is valid; the route says what is wrong with one that is not."""
    try:
        await actor_of(Request(scope))
    except NinelivesError:
        return False
    return True


def _reused(scope: Scope) -> bytes:
    return json.dumps(
        {
            "type": f"about:blank#{KeyReused.code}",
            "title": "Not acceptable input",
            "status": 422,
            "code": KeyReused.code,
            "detail": str(KeyReused()),
            "request_id": scope.get("state", {}).get("request_id"),
        }
    ).encode()


async def _whole(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


def _again(body: bytes) -> Receive:
    sent = asyncio.Event()

    async def receive() -> Message:
        if not sent.is_set():
            sent.set()
            return {"type": "http.request", "body": body, "more_body": False}
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    return receive


async def _answer(send: Send, status: int, body: bytes, *, replayed: bool = False) -> None:
    headers = []
    if body:
        kind = b"application/problem+json" if status >= 400 else b"application/json"
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if replayed:
        headers.append((b"idempotency-replayed", b"true"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
