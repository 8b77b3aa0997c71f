"""The service that all sessions call: it numbers every request and remembers which step sent it."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Ledger:
    """What arrived, by step.

    Attributes:
        arrivals: Step (`NAME/INDEX`) -> numbers of its requests, in the order of their arrival.
        inside: How many requests are being answered now.
    """

    def __init__(self, hold_seconds: float) -> None:
        self.hold_seconds = hold_seconds
        self.arrivals: dict[str, list[int]] = defaultdict(list)
        self.inside = 0
        self.url = ""
        self._count = 0
        self._lock = threading.Lock()

    def enter(self, step: str) -> int:
        """Take note of a request; return its number."""
        with self._lock:
            self._count += 1
            self.inside += 1
            self.arrivals[step].append(self._count)
            return self._count

    def leave(self) -> None:
        """Take note that a request has been answered, or its sender has died."""
        with self._lock:
            self.inside -= 1


@contextmanager
def running(hold_seconds: float = 0.4) -> Iterator[Ledger]:
    """Serve on loopback; each answer takes a moment, so that kills find requests in flight."""
    ledger = Ledger(hold_seconds)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            number = ledger.enter(self.path.strip("/"))
            try:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                time.sleep(ledger.hold_seconds)
                body = b'{"number": %d}' % number
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # the sender was killed: that is what this is for
            finally:
                ledger.leave()

        def log_message(self, *_args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, *_args: object) -> None:
            """Say nothing: senders are killed while they send."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ledger.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield ledger
    finally:
        server.shutdown()
        server.server_close()
