"""A tiny stand-in for `ninelives.run.main`, so that the worker is tested without the session runtime.

A build's `main.py` is executed with the name `session`: it speaks the dialogue of `ninelives.run.wire` and
nothing more.
"""

import json
import os
import socket
from typing import Any

from ninelives.run import wire


class Session:
    """The session's end of the socket."""

    def __init__(self, sock: socket.socket, build: str) -> None:
        self._sock = sock
        self.build = build
        self.start = wire.receive(sock).head
        self.past: list[wire.Frame] = []
        self.i = 0
        while (frame := wire.receive(sock)).type != "go":
            self.past.append(frame)
        self.send("hello", pid=os.getpid())

    def send(self, kind: str, body: bytes = b"", /, **head: Any) -> None:
        self._sock.sendall(wire.encode({"t": kind, **head}, body))

    def receive(self) -> wire.Frame:
        return wire.receive(self._sock)

    def ask(self, kind: str, body: bytes = b"", /, **head: Any) -> wire.Frame:
        """Send a frame and wait for its answer."""
        self.i += 1
        number = self.i
        self.send(kind, body, i=number, **head)
        while (frame := self.receive()).head.get("i") != number:
            pass
        return frame

    def step(self, name: str, value: bytes = b"") -> wire.Frame:
        """Record a step, or return it from the journal."""
        n = self.i
        if n < len(self.past):
            self.i += 1
            return self.past[n]
        head = {
            "track": "call",
            "strand": "0",
            "n": n,
            "kind": "step",
            "name": name,
            "digest": "",
            "status": "ok",
        }
        return self.ask("record", value, **head)

    def done(self, result: object = None) -> None:
        self.ask("done", json.dumps(result).encode(), state="completed", error=None)


def run_session(sock: socket.socket, build_dir: str) -> None:
    session = Session(sock, build_dir)
    names: dict[str, Any] = {"session": session, "result": None, "__name__": "main"}
    os.environ.update(session.start.get("env", {}))
    with open(f"{build_dir}/main.py", encoding="utf-8") as file:
        exec(compile(file.read(), f"{build_dir}/main.py", "exec"), names)
    session.done(names["result"])
