"""A TLS proxy in front of a server on loopback, as people put one in front of theirs: it ends TLS and passes bytes."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator

import trustme


class Proxy:
    """Where it listens, and the authority that signed its certificate."""

    def __init__(self, names: tuple[str, ...], target_port: int, authority: trustme.CA | None = None) -> None:
        self.authority = authority or trustme.CA()
        self.port = 0
        self._target = target_port
        self._names = names
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._serve(),), daemon=True
        )

    def aim(self, target_port: int) -> None:
        """Pass new connections to another port."""
        self._target = target_port

    async def _serve(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*self._names).configure_cert(context)
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, behind_writer), _copy(behind_reader, writer))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()


@contextlib.contextmanager
def running(*names: str, target_port: int = 0, authority: trustme.CA | None = None) -> Iterator[Proxy]:
    """Run a proxy with a certificate for these names; its port is known before the server's is needed."""
    proxy = Proxy(names, target_port, authority)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
