"""Real servers over HTTP, a counter that user code calls, and the story's stage."""

import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ninelives_server.testing import running


class Calls:
    """What arrived at the counter: key and time of each call, and how many are being answered now.

    While `gate` is closed no call is answered, so that callers gather however slowly they come.
    """

    def __init__(self, hold_seconds: float) -> None:
        self.hold_seconds = hold_seconds
        self.arrivals: list[tuple[str, float]] = []
        self.inside: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.url = ""
        self.gate = threading.Event()
        self.gate.set()

    def enter(self, key: str) -> None:
        with self.lock:
            self.arrivals.append((key, time.time()))
            self.inside[key] += 1

    def leave(self, key: str) -> None:
        with self.lock:
            self.inside[key] -= 1

    def now_inside(self) -> list[str]:
        with self.lock:
            return [key for key, count in self.inside.items() if count > 0]


@pytest.fixture
def counter():
    """An HTTP server that answers each POST after a short while and remembers it."""
    calls = Calls(hold_seconds=0.25)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            key = self.path.strip("/")
            calls.enter(key)
            try:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                time.sleep(calls.hold_seconds)
                calls.gate.wait(300)
                body = b'{"index": %d}' % int(key.rpartition("/")[2])
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # the caller was killed; that is what the test is for
            finally:
                calls.leave(key)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    calls.url = f"http://127.0.0.1:{server.server_port}"
    yield calls
    calls.gate.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def up(tmp_path):
    """A running server on a data directory of its own."""
    server = running.Up(tmp_path / "data")
    try:
        yield server.start()
    finally:
        server.stop()
