"""The ASGI application: reads requests, asks the surface, logs them, holds and fails answers on demand."""

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

from ninelives_server.testing.fake_salesforce import surface, times
from ninelives_server.testing.fake_salesforce.control import server as control
from ninelives_server.testing.fake_salesforce.control.desk import Desk
from ninelives_server.testing.fake_salesforce.control.traffic import Entry, Hold, Traffic
from ninelives_server.testing.fake_salesforce.http import Call, Reply
from ninelives_server.testing.fake_salesforce.org import Org

_WAITING = 32  # control requests that may wait at a time

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class App:
    """Serves one org."""

    def __init__(self, org: Org, traffic: Traffic) -> None:
        self._org = org
        self._traffic = traffic
        self._desk = Desk(org, traffic)
        # Control requests may wait for what other requests bring about: never on the loop itself.
        self._waiting = ThreadPoolExecutor(_WAITING, thread_name_prefix="control")

    def close(self) -> None:
        """Let go of the threads that answer control requests."""
        self._waiting.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        call = _call(scope, await _read(receive))
        if call.path.startswith(control.PREFIX):
            loop = asyncio.get_running_loop()
            reply = await loop.run_in_executor(self._waiting, control.serve, self._desk, call)
        else:
            reply = await self._serve(call, receive)
        await _write(reply, send, with_body=scope["method"] != "HEAD")

    async def _serve(self, call: Call, receive: Receive) -> Reply:
        began = time.monotonic()
        entry = self._arrive(call)
        failure = self._traffic.take_failure(call)
        if failure and not failure.applied:
            reply = failure.reply
        else:
            with self._org.lock:
                reply = surface.serve(self._org, call)
        if failure:
            reply = failure.reply
        held = self._traffic.take_hold(call, entry)
        if held:
            await self._wait(*held, receive)
        self._traffic.answered(entry, status=reply.status, seconds=time.monotonic() - began)
        return reply

    def _arrive(self, call: Call) -> Entry:
        with self._org.lock:
            token = self._org.ledger.tokens.get(call.token() or "")
            user = self._org.user(token.user_id)["Username"] if token else None
            app = self._org.apps.get(token.client_id) if token else None
        at = times.write_datetime(self._org.clock.now())
        return self._traffic.arrive(call, at=at, user=user, client=app.name if app else None)

    async def _wait(self, rule: Hold, released: asyncio.Event, receive: Receive) -> None:
        """Wait until the answer may go, and note whether the client hangs up before."""
        release = asyncio.ensure_future(released.wait())
        hang_up = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({release, hang_up}, return_when=asyncio.FIRST_COMPLETED)
            if not release.done():
                self._traffic.hung_up(rule)
                await release
        finally:
            release.cancel()
            hang_up.cancel()


def _call(scope: MutableMapping[str, Any], body: bytes) -> Call:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return Call(
        method="GET" if scope["method"] == "HEAD" else scope["method"], path=scope["path"],
        query=dict(query), headers=headers, body=body, scheme=scope["scheme"],
        client=(scope.get("client") or ("", 0))[0],
    )  # fmt: skip


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return bytes(body)


async def _write(reply: Reply, send: Send, *, with_body: bool) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
    if reply.content_type is not None:
        headers.append((b"content-type", reply.content_type.encode("latin-1")))
    if reply.status not in {204, 304}:
        headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    body = reply.body if with_body and reply.status not in {204, 304} else b""
    await send({"type": "http.response.body", "body": body})
