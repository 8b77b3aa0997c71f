"""Small local services that example projects talk to: Slack, GitHub, Jira, OpenAI and some of nobody's.

They answer as the real ones do, as far as clients look; they remember what arrived, and hold an answer back
where a test wants to kill somebody who waits for it.
"""

import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]

GPX = (
    '<gpx xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>'
    '<trkpt lat="1.5" lon="2.5"><ele>10</ele></trkpt><trkpt lat="1.6" lon="2.6"><ele>11</ele></trkpt>'
    "</trkseg></trk></gpx>"
)


class Services:
    """One HTTP server for all of them.

    Attributes:
        arrivals: Method, path and body of each request, in order.
    """

    def __init__(self) -> None:
        self.arrivals: list[tuple[str, str, Any]] = []
        self.held = threading.Event()
        self.lock = threading.Lock()
        self._hold: tuple[re.Pattern[str], int] | None = None
        self._release = threading.Event()
        self._numbers = itertools.count(1)
        self._refusals: dict[str, int] = {}
        self.begin()
        handler = type("Handler", (_Handler,), {"services": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def begin(self) -> None:
        """Forget what arrived, and refuse again what is refused at first."""
        self.arrivals.clear()
        self._refusals = {"payroll": 3, "health": 3, "tickets": 1}

    @property
    def url(self) -> str:
        """Where they are."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop."""
        self._release.set()
        self._server.shutdown()
        self._server.server_close()

    def paths(self, pattern: str) -> list[str]:
        """Return the requests that arrived and match, as `METHOD path`."""
        found = (f"{method} {path}" for method, path, _ in self.arrivals)
        return [text for text in found if re.search(pattern, text)]

    def bodies(self, pattern: str) -> list[Any]:
        """Return the bodies of the requests that match."""
        return [body for method, path, body in self.arrivals if re.search(pattern, f"{method} {path}")]

    @contextmanager
    def holding(self, pattern: str, nth: int = 1) -> Iterator[None]:
        """Hold the answer to the nth request that matches until the end of the block."""
        self.held.clear()
        self._release.clear()
        self._hold = (re.compile(pattern), nth)
        try:
            yield
        finally:
            self._hold = None
            self._release.set()

    def arrived(self, method: str, path: str, body: Any) -> None:
        """Remember a request, and wait where its answer is to be held."""
        with self.lock:
            self.arrivals.append((method, path, body))
            hold = self._hold
            is_it = False
            if hold is not None and hold[0].search(f"{method} {path}"):
                self._hold = (hold[0], hold[1] - 1)
                is_it = hold[1] == 1
        if is_it:
            self.held.set()
            self._release.wait(120)

    def answer(self, method: str, path: str, body: Any) -> Answer:
        """Answer a request."""
        plain = urlsplit(path)
        for pattern, function in _ROUTES:
            found = re.fullmatch(pattern, f"{method} {plain.path}")
            if found:
                return function(self, body, dict(parse_qsl(plain.query)), *found.groups())
        return 404, {"error": f"no {method} {path}"}

    def number(self) -> int:
        """Return a number that was never given before."""
        return next(self._numbers)

    def refuses(self, what: str) -> bool:
        """Tell whether one more request is to be refused."""
        with self.lock:
            self._refusals[what] = self._refusals.get(what, 0) - 1
            return self._refusals[what] >= 0


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_args: object) -> None:
        """Say nothing: clients are killed here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    services: Services

    def _serve(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type", "")
        body: Any = data.decode(errors="replace")
        if "json" in kind:
            body = json.loads(data or b"null")
        elif "urlencoded" in kind:
            body = dict(parse_qsl(body))
        self.services.arrived(self.command, self.path, body)
        status, answer, *more = self.services.answer(self.command, self.path, body)
        text = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        with suppress(OSError):  # whoever asked may be dead; that is what the test is for
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


# --- the services -------------------------------------------------------------------------------------------


def _slack(services: Services, body: Any, _query: dict[str, str], name: str) -> Answer:
    match name:
        case "auth.test":
            return 200, {"ok": True, "user_id": "U1", "team": "Acme"}
        case "conversations.create":
            return 200, {"ok": False, "error": "name_taken"}
        case "chat.postMessage":
            return 200, {"ok": True, "channel": body["channel"], "ts": f"1.{services.number():03d}"}
    return 200, {"ok": True}


def _issue(services: Services, number: int, *labels: str) -> dict[str, Any]:
    url = f"{services.url}/api/v3/repos/acme/router/issues/{number}"
    made = [{"name": label, "url": f"{url}/labels/{label}"} for label in labels]
    return {"number": number, "title": f"Issue {number}", "url": url, "labels": made, "id": number}


def _repo(services: Services, _body: Any, _query: dict[str, str]) -> Answer:
    url = f"{services.url}/api/v3/repos/acme/router"
    return 200, {"full_name": "acme/router", "name": "router", "url": url, "id": 1}


def _issues(services: Services, _body: Any, query: dict[str, str]) -> Answer:
    if query.get("page", "1") == "1":
        more = f'<{services.url}/api/v3/repos/acme/router/issues?state=open&page=2>; rel="next"'
        return 200, [_issue(services, 1), _issue(services, 2, "needs-triage")], {"Link": more}
    return 200, [_issue(services, 3)]


def _labels(_services: Services, _body: Any, _query: dict[str, str], _number: str) -> Answer:
    return 200, [{"name": "needs-triage"}]


def _jira_issue(services: Services, _body: Any, _query: dict[str, str]) -> Answer:
    return 201, {"id": "1", "key": f"OPS-{services.number()}"}


def _jira_comment(_services: Services, _body: Any, _query: dict[str, str], _key: str) -> Answer:
    return 201, {"id": "2"}


def _openai(_services: Services, body: Any, _query: dict[str, str]) -> Answer:
    text = body["messages"][-1]["content"]
    if "forbidden" in text:
        return 400, {"error": {"message": "not allowed", "type": "invalid_request_error"}}
    label = "sales" if "buy" in text else "support"
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": label}}
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
    base = {"id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini"}
    return 200, {**base, "choices": [choice], "usage": usage}


def _file(_services: Services, _body: Any, _query: dict[str, str]) -> Answer:
    return 200, GPX


def _ok(_services: Services, _body: Any, _query: dict[str, str]) -> Answer:
    return 200, {"ok": True}


def _work(_services: Services, _body: Any, _query: dict[str, str], item: str) -> Answer:
    return 200, {"length": len(item)}


def _weather(_services: Services, _body: Any, _query: dict[str, str], city: str) -> Answer:
    return 200, {"celsius": len(city)}


def _health(services: Services, _body: Any, _query: dict[str, str]) -> Answer:
    return (500, {}) if services.refuses("health") else (200, {})


def _accounts(services: Services, body: Any, _query: dict[str, str]) -> Answer:
    if body["service"] == "payroll" and services.refuses("payroll"):
        return 503, {}
    return 201, {"id": 100 + ["mail", "wiki", "payroll"].index(body["service"])}


def _tickets(services: Services, body: Any, _query: dict[str, str]) -> Answer:
    return (503, {}) if services.refuses("tickets") else (201, {"id": 77, "tags": body["tags"]})


_ROUTES: tuple[tuple[str, Callable[..., Answer]], ...] = (
    (r"POST /slack/(.+)", _slack),
    (r"GET /api/v3/repos/acme/router", _repo),
    (r"GET /api/v3/repos/acme/router/issues", _issues),
    (r"POST /api/v3/repos/acme/router/issues/(\d+)/labels", _labels),
    (r"POST /rest/api/2/issue/?", _jira_issue),
    (r"POST /rest/api/2/issue/([^/]+)/comment", _jira_comment),
    (r"POST /openai/chat/completions", _openai),
    (r"GET /files/track.gpx", _file),
    (r"POST /files/inserted", _ok),
    (r"POST /work/(.+)", _work),
    (r"GET /weather/(.+)", _weather),
    (r"GET /health", _health),
    (r"POST /commits", _ok),
    (r"POST /accounts", _accounts),
    (r"POST /tickets", _tickets),
)
