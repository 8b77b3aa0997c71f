"""A network between a worker and its server, which can be cut so that neither hears of it."""

import contextlib
import socket
import threading
from typing import Any


class Wire:
    """Passes on what comes, as long as it is whole; while it is cut, connections stay open and say nothing.

    Attributes:
        port: Where it listens on the loopback address.
        whole: Clear it to cut the wire.
    """

    def __init__(self, port: int) -> None:
        """Lead to a port of this machine."""
        self._to = port
        self._sockets: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.whole = threading.Event()
        self.whole.set()
        self._start(self._accept)

    @property
    def url(self) -> str:
        """The server's address at this end."""
        return f"http://localhost:{self.port}"

    def close(self) -> None:
        """Hang up on both sides."""
        self.whole.set()
        for sock in (self._server, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    @staticmethod
    def _start(run: Any, *arguments: object) -> None:
        threading.Thread(target=run, args=arguments, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [near, far]
                self._start(self._carry, near, far)
                self._start(self._carry, far, near)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.whole.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
