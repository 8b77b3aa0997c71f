"""Requests a second: a webhook that is accepted and committed, beside an endpoint that does nothing."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from ours import Server

#: Connections that send one request after the other.
CONNECTIONS = 32
_BODY = b'{"id": 7, "kind": "order"}'


def webhook(server: Server, seconds: float) -> float:
    """Return how many webhooks a second are answered 202, each an event on disk."""
    triggers = server.http.get("/projects/bench/triggers").json()["items"]
    url = urlsplit(next(t["webhook_url"] for t in triggers if t["name"] == "hook"))
    return asyncio.run(_rate("127.0.0.1", url.port or 80, url.path, seconds))


def empty_endpoint(seconds: float) -> float:
    """Return how many requests a second the peer answers."""
    with _peer() as port:
        return asyncio.run(_rate("127.0.0.1", port, "/hook", seconds))


@contextmanager
def _peer() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    process = subprocess.Popen([sys.executable, str(Path(__file__).with_name("peer_fastapi.py")), str(port)])
    try:
        _wait(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _wait(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("the peer did not start")


async def _rate(host: str, port: int, path: str, seconds: float) -> float:
    """Send from all connections for a while; the first second does not count."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(_BODY)}\r\n\r\n".encode() + _BODY
    counts = [0]
    tasks = [asyncio.create_task(_send(host, port, request, counts)) for _ in range(CONNECTIONS)]
    await asyncio.sleep(1)
    before, began = counts[0], time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (counts[0] - before) / (time.perf_counter() - began)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(result, asyncio.CancelledError):
            raise RuntimeError(f"a connection ended: {result!r}")
    return rate


async def _send(host: str, port: int, request: bytes, counts: list[int]) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        while True:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 202"):
                raise RuntimeError(head.decode(errors="replace"))
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            counts[0] += 1
    finally:
        writer.close()
