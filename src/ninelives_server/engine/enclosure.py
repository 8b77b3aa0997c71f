"""A network of its own for the embedded Temporal, and one door into it that asks for a credential.

Temporal's development server cannot ask for a credential, neither at its front nor at the ports on which its
parts speak to each other, and project code can reach whatever listens on the loopback address. So it runs in
a network namespace (network_namespaces(7)), where nobody else is. This process holds a listening socket from
outside, opened before it went in, and answers there as an HTTP proxy does to CONNECT (RFC 9110, section
9.3.6): whoever knows the credential is let through to Temporal, with `HttpConnectProxyConfig` of its SDK.

Run as a program by `engine.embedded`: the order comes as one line of JSON on standard input, the answer goes
as one word to standard output. Where the kernel refuses namespaces the door is the same, but Temporal can
be reached beside it, and the word is `open`.
"""

import asyncio
import base64
import contextlib
import fcntl
import hmac
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from typing import cast

from ninelives.run import confine
from ninelives_server.model.sessions import TEMPORAL_USER

#: What the answer says of where Temporal is.
ENCLOSED, OPEN = "enclosed", "open"

_PATIENCE = 5.0  # seconds until somebody must have been let in
_HEAD_LIMIT = 8192  # bytes
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1  # netdevice(7)
_NO_ENTRY = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
    b'Proxy-Authenticate: Basic realm="Temporal"\r\nContent-Length: 0\r\n\r\n'
)
_AWAY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
_WELCOME = b"HTTP/1.1 200 OK\r\n\r\n"


def enclose() -> bool:
    """Go into a network namespace with a loopback address; `False` where the kernel refuses."""
    try:
        try:
            confine.cut_off_network()
        except confine.Refused:
            confine.own_users()
            confine.cut_off_network()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
    except OSError:
        return False
    return True


def is_granted(head: bytes, secret: str) -> bool:
    """Tell whether a request is a CONNECT with the right credential, in constant time."""
    request, *fields = head.split(b"\r\n")
    expected = b"Basic " + base64.b64encode(f"{TEMPORAL_USER}:{secret}".encode())
    given = b""
    for field in fields:
        name, _, value = field.partition(b":")
        if name.strip().lower() == b"proxy-authorization":
            given = value.strip()
    return request.startswith(b"CONNECT ") and hmac.compare_digest(given, expected)


class _Way(asyncio.Protocol):
    """One direction of a connection: what comes here goes out at the other one."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Way | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        # The SDK does not set TCP_NODELAY on a connection by a proxy: it sends what is left of a message
        # when we have acknowledged its beginning, which the kernel likes to put off by 40 ms (tcp(7)).
        self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        self.transport = None
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Door(_Way):
    """One connection from outside, let through where it knows the secret."""

    def __init__(self, secret: str, port: int) -> None:
        """Make one.

        Args:
            secret: The credential.
            port: Temporal's, on the loopback address inside.
        """
        super().__init__()
        self._secret = secret
        self._port = port
        self._head = b""
        self._entering: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request, not for ever."""
        super().connection_made(transport)
        self._patience = asyncio.get_running_loop().call_later(_PATIENCE, transport.close)

    def data_received(self, data: bytes) -> None:
        """Pass on what comes, once the request has been granted."""
        if self.other is not None:
            super().data_received(data)
            return
        self._head += data
        assert self.transport is not None
        if b"\r\n\r\n" not in self._head:
            if len(self._head) > _HEAD_LIMIT:
                self.transport.close()
            return
        self.transport.pause_reading()  # a client says nothing before it has been let in
        if is_granted(self._head, self._secret):
            self._entering = asyncio.create_task(self._enter())
        else:
            self._refuse(_NO_ENTRY)

    async def _enter(self) -> None:
        try:
            _, way = await asyncio.get_running_loop().create_connection(_Way, "127.0.0.1", self._port)
        except OSError:
            self._refuse(_AWAY)
            return
        way.other, self.other = self, way
        if self.transport is None:  # gone meanwhile
            self.connection_lost(None)
            return
        assert self._patience is not None
        self._patience.cancel()
        self.transport.write(_WELCOME)
        self.transport.resume_reading()

    def _refuse(self, answer: bytes) -> None:
        if self.transport is not None:
            self.transport.write(answer)
            self.transport.close()


async def _serve(door: socket.socket, command: Sequence[str], secret: str, port: int) -> int:
    """Run Temporal and the door to it; return Temporal's exit status."""
    parent = os.getpid()

    def orphan_dies() -> None:
        # In the child, before exec. A parent that died meanwhile would not be noticed any more.
        confine.die_with_parent()
        if os.getppid() != parent:
            os._exit(1)

    temporal = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr, preexec_fn=orphan_dies
    )

    def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            temporal.terminate()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    await asyncio.get_running_loop().create_server(lambda: Door(secret, port), sock=door)
    return await temporal.wait()


def main() -> int:
    """Do what the order on standard input says; return Temporal's exit status."""
    order = json.loads(sys.stdin.readline())
    confine.die_with_parent()
    if os.getppid() != order["parent"]:
        return 1
    door = socket.socket(fileno=order["door"])
    sys.stdout.write(f"{ENCLOSED if enclose() else OPEN}\n")
    sys.stdout.flush()
    code = asyncio.run(_serve(door, order["command"], order["secret"], order["port"]))
    return code if code >= 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())
