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

from ninelives.run import confine
from ninelives_server.model.sessions import TEMPORAL_USER

#: What the answer says of where Temporal is.
ENCLOSED, OPEN = "enclosed", "open"

_HEAD_LIMIT = 5.0  # seconds until a request must be there
_CHUNK = 256 * 1024  # bytes
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


class Door:
    """Lets through those who know the secret."""

    def __init__(self, secret: str, port: int) -> None:
        """Make one.

        Args:
            secret: The credential.
            port: Temporal's, on the loopback address inside.
        """
        self._secret = secret
        self._port = port

    async def admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection from outside until either side ends it."""
        with contextlib.suppress(
            OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            async with asyncio.timeout(_HEAD_LIMIT):
                head = await reader.readuntil(b"\r\n\r\n")
            if is_granted(head, self._secret):
                await self._through(reader, writer)
            else:
                writer.write(_NO_ENTRY)
                await writer.drain()
        writer.close()

    async def _through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.write(_AWAY)
            await writer.drain()
            return
        writer.write(_WELCOME)
        ways = {
            asyncio.create_task(_copy(reader, inner_writer)),
            asyncio.create_task(_copy(inner_reader, writer)),
        }
        await asyncio.wait(ways)
        inner_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until there is no more, and say so."""
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


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
    await asyncio.start_server(Door(secret, port).admit, sock=door)
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
