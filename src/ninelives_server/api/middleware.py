"""What every request passes: host check, path prefix, request id, metrics.

Plain ASGI, so that streams stay streams.
"""

import html
import json
import re
import time
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ninelives_server import ids, log
from ninelives_server.api import metrics
from ninelives_server.settings import Settings

logger = log.get(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_HOOK = "/webhooks/…"
#: Below these other people's code decides what is answered: on our origin it must be nothing that a browser
#: runs. Refusals are answered alike.
_FOREIGN = ("/webhooks/", "/store/")
_SANDBOX = [(b"content-security-policy", b"sandbox"), (b"x-content-type-options", b"nosniff")]
_LOOKING = {"GET", "HEAD", "OPTIONS"}
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _host_name(host: str) -> str:
    """Return the name of a Host header, without its port (RFC 9110, section 7.2), or nothing."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:  # such as half of an IPv6 address
        return ""


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """Return the host names under which this server answers: rebinding a foreign name to it gains nothing."""
    urls = [url for url in (settings.public_url, settings.web_url) if url]
    names = {urlsplit(url).hostname or "" for url in urls} | {name.strip("[]") for name in _LOCAL}
    if settings.host not in {"0.0.0.0", "::"}:  # noqa: S104 - compared with, not bound
        names.add(settings.host.lower())
    return frozenset(names)


class Gate:
    """Refuses foreign hosts, strips the public path prefix, names the request and counts it."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._hosts = allowed_hosts(settings)
        self._prefixes: Sequence[str] = sorted(
            {urlsplit(url).path.rstrip("/") for url in (settings.public_url, settings.web_url) if url} - {""},
            key=len,
            reverse=True,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        host = _header(scope, b"host")
        if _host_name(host) not in self._hosts:
            await _refuse_host(scope, send, host)
            return
        self._strip_prefix(scope)
        given = _header(scope, b"x-request-id")
        request_id = given if _REQUEST_ID.fullmatch(given) else ids.new("req")
        scope.setdefault("state", {})["request_id"] = request_id
        if scope["type"] == "http" and _has_nul(scope):
            answer = _Answer(scope, send, request_id)
            await _say(answer, 404, "not_found", "nothing has a NUL character in its name", request_id)
            return
        if scope["type"] == "http" and scope["method"] == "CONNECT":
            # A good answer to it would open a tunnel (RFC 9110, section 9.3.6).
            answer = _Answer(scope, send, request_id)
            await _say(answer, 405, "method_not_allowed", "this server is no proxy", request_id)
            return
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._serve(scope, receive, _Answer(scope, send, request_id))

    async def _serve(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        """Pass a request on; a defect of ours is logged here, once, and answered as a problem."""
        try:
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            return  # nobody is left to answer
        except Exception:  # the root of a request
            logger.exception("request.broke", method=scope.get("method"), path=told(scope["path"]))
            if scope["type"] == "websocket" or answer.has_begun:
                raise
            await _say_broken(answer, answer.request_id)

    def _strip_prefix(self, scope: Scope) -> None:
        """Take the prefix off where a proxy left it on; links get it back from the settings."""
        for prefix in self._prefixes:
            if scope["path"] == prefix or scope["path"].startswith(f"{prefix}/"):
                scope["path"] = scope["path"][len(prefix) :] or "/"
                quoted = scope.get("raw_path") or b""
                is_plain = quoted.startswith(prefix.encode())
                scope["raw_path"] = (
                    quoted[len(prefix) :] or b"/" if is_plain else quote(scope["path"]).encode()
                )
                return


class _Answer:
    """Adds the request id to the answer and counts it when it begins."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self._scope = scope
        self._send = send
        self.request_id = request_id
        self.has_begun = False
        self._began = time.monotonic()

    async def __call__(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            message.setdefault("headers", []).append((b"x-request-id", self.request_id.encode()))
            if self._scope["path"].startswith(_FOREIGN):
                there = {name for name, _ in message["headers"]}
                message["headers"] += [header for header in _SANDBOX if header[0] not in there]
            self._note(self._scope["method"], message["status"], self._scope["path"])
        await self._send(message)

    def _note(self, method: str, status: int, path: str) -> None:
        """Count, and write down what people may look for tomorrow: requests that may change something.

        Only the path, never the query, which may hold a ticket or a login link's secret.
        """
        seconds = time.monotonic() - self._began
        is_webhook = path.startswith("/webhooks/")
        metrics.answered(method, status, seconds=seconds, is_webhook=is_webhook)
        write = logger.debug if is_webhook or method in _LOOKING else logger.info
        write("request.answered", method=method, path=told(path), status=status, ms=round(seconds * 1000, 1))


def told(path: str) -> str:
    """Return a path for the log: a webhook's address is its secret."""
    return _HOOK if path.startswith("/webhooks/") else path[:300]


def _has_nul(scope: Scope) -> bool:
    """Tell whether a request names something with a NUL character, which no database looks for.

    What follows a webhook's slug, and its query, are data.
    """
    path: str = scope["path"]
    if path.startswith("/webhooks/"):
        return "\0" in path.split("/", 3)[2]
    return "\0" in path or b"%00" in scope.get("query_string", b"")


async def _say_broken(send: Send, request_id: str) -> None:
    """Answer for a defect of ours."""
    detail = f"a defect of the server; its log says more under the request id {request_id}"
    await _say(send, 500, "internal", detail, request_id)


async def _say(send: Send, status: int, code: str, detail: str, request_id: str) -> None:
    """Answer with a problem document where no route does."""
    body = json.dumps(
        {
            "type": f"about:blank#{code}",
            "title": {404: "Not found", 405: "Method not allowed", 500: "Internal error"}[status],
            "status": status,
            "code": code,
            "detail": detail,
            "request_id": request_id,
        }
    ).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _refuse_host(scope: Scope, send: Send, host: str) -> None:
    logger.warning("request.refused", host=host[:200])
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Unknown host</title>"
        f"<h1>This server does not answer as “{html.escape(host[:200])}”</h1>"
        "<p>If this is the address under which people reach it, start it with <code>--public-url https://"
        f"{html.escape(host[:200])}</code> or set <code>NINELIVES_PUBLIC_URL</code>; where the pages have "
        "another address than the callbacks, set <code>NINELIVES_WEB_URL</code> too.</p></html>"
    ).encode()
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    ]
    # 421: the request reached a server that does not answer for this host (RFC 9110, section 15.5.20).
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": body})
