"""The world outside of test programs: a web service that counts what it is asked, a directory, a store."""

import json
import shutil
import threading
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ninelives_server.testing.session_harness import Answers

#: What `GET /orders?page=` answers.
_PAGES: Mapping[str, tuple[list[int], int | None]] = {"1": ([1, 2], 2), "2": ([3, 4], 3), "3": ([5], None)}


class Outside:
    """What programs change, so that what happened twice can be seen.

    Attributes:
        asked: How often the service was sent which request.
        directory: For files and databases.
    """

    def __init__(self, directory: Path) -> None:
        self.asked: Counter[str] = Counter()
        self.directory = directory
        self._store: dict[str, Any] = {}
        self._lock = threading.Lock()
        outside = self

        class Handler(_Handler):
            world = outside

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.reset()

    @property
    def url(self) -> str:
        """The address of the service."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop the service."""
        self._server.shutdown()
        self._server.server_close()

    def reset(self) -> None:
        """Put everything back to the beginning."""
        with self._lock:
            self.asked.clear()
        self._store.clear()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)

    def effects(self) -> dict[str, int]:
        """Return what was done, and how often."""
        with self._lock:
            found = dict(self.asked)
        for path in sorted(self.directory.rglob("*.log")):
            for line in path.read_text().splitlines():
                found[f"{path.name}: {line}"] = found.get(f"{path.name}: {line}", 0) + 1
        return found

    def changes(self) -> dict[str, int]:
        """Return what was done, without what was only asked for."""
        return {name: times for name, times in self.effects().items() if not name.startswith("GET ")}

    def note(self, what: str) -> int:
        """Count a request; return how often there was one like it."""
        with self._lock:
            self.asked[what] += 1
            return self.asked[what]

    @property
    def answers(self) -> Answers:
        """The project's store."""
        kept = self._store

        def check_and_set(args: Mapping[str, Any]) -> bool:
            is_as_expected = kept.get(args["key"]) == args["expected"]
            if is_as_expected:
                kept[args["key"]] = args["value"]
            return is_as_expected

        def add(args: Mapping[str, Any]) -> Any:
            kept[args["key"]] = kept.get(args["key"], 0) + args["value"]
            return kept[args["key"]]

        return {
            "store.get": lambda args: kept.get(args["key"]),
            "store.set": lambda args: kept.__setitem__(args["key"], args["value"]),
            "store.del": lambda args: kept.pop(args["key"], None) and None,
            "store.add": add,
            "store.check_and_set": check_and_set,
            "store.list": lambda _args: sorted(kept),
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients of this service are killed all the time."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: Outside

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.world.note(f"GET {self.path}")
        if url.path.startswith("/fail/"):
            self._answer(int(url.path.removeprefix("/fail/")), {"message": "refused"})
            return
        numbers, following = _PAGES[parse_qs(url.query)["page"][0]]
        items = [{"id": n, "amount": n * 7} for n in numbers]
        self._answer(200, {"items": items, "next": following})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        times = self.world.note(f"POST {self.path} {body.decode()}")
        if self.path == "/flaky" and times < 2:
            self._answer(503, {"message": "later"})
        else:
            self._answer(201, {**json.loads(body or "{}"), "n": len(body)})

    def _answer(self, status: int, document: Mapping[str, Any]) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: Any) -> None:
        pass
