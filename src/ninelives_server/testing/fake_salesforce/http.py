"""Requests and answers as plain values, and a router: every surface of the org is functions between them."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode

from ninelives_server.testing.fake_salesforce.org import Org


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. Header names are lower case; of a repeated query or form field the last one counts."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    scheme: str = "https"
    client: str = "127.0.0.1"

    @property
    def host(self) -> str:
        """Return the Host that the client asked for."""
        return self.headers.get("host", "localhost")

    def header(self, name: str) -> str:
        """Return a header, or an empty text."""
        return self.headers.get(name.lower(), "")

    def pairs(self) -> list[tuple[str, str]]:
        """Return the fields of a form body, repeated ones included."""
        if "application/x-www-form-urlencoded" not in self.header("content-type"):
            return []
        return parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True)

    def form(self) -> dict[str, str]:
        """Return the fields of a form body."""
        return dict(self.pairs())

    def cookies(self) -> dict[str, str]:
        """Return the cookies that came along; those of other servers on the same host may be of any form."""
        pairs = (part.partition("=") for part in self.header("cookie").split(";"))
        return {name.strip(): value.strip() for name, _, value in pairs}

    def token(self) -> str | None:
        """Return the access token of the Authorization header; `Bearer` and `OAuth` both name one."""
        kind, _, value = self.header("authorization").partition(" ")
        return value.strip() if kind.lower() in {"bearer", "oauth"} and value.strip() else None


@dataclass(slots=True, kw_only=True)
class Reply:
    """One answer. Without `content_type` none is sent, as Salesforce does with some errors."""

    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def json_reply(document: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a JSON answer."""
    return Reply(
        status=status,
        body=json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(),
        content_type="application/json;charset=UTF-8",
        headers=dict(headers or {}),
    )


def text_reply(text: str, *, status: int = 200) -> Reply:
    """Return a plain text answer."""
    return Reply(status=status, body=text.encode(), content_type="text/plain;charset=UTF-8")


def html_reply(page: str, *, status: int = 200) -> Reply:
    """Return a page; it is not stored, and no other site may frame it."""
    return Reply(
        status=status, body=page.encode(), content_type="text/html;charset=UTF-8",
        headers={
            "cache-control": "no-cache,must-revalidate,max-age=0,no-store,private",
            "x-frame-options": "DENY", "x-content-type-options": "nosniff",
            "referrer-policy": "origin-when-cross-origin",
        },
    )  # fmt: skip


def redirect(url: str, *, status: int = 302) -> Reply:
    """Return a redirect."""
    return Reply(status=status, headers={"location": url, "cache-control": "no-cache,no-store"})


def with_query(url: str, fields: Mapping[str, str | None]) -> str:
    """Return the URL with these query fields added; those that are `None` are left out."""
    query = urlencode({name: value for name, value in fields.items() if value is not None})
    return f"{url}{'&' if '?' in url else '?'}{query}"


Handler = Callable[[Org, Call, Mapping[str, str]], Reply]
H = TypeVar("H")


class Router(Generic[H]):
    """Finds the function for a method and a path such as `/sobjects/{sobject}/{id}`."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], H]] = []

    def add(self, methods: str, path: str, handler: H) -> None:
        """Serve these methods (separated by spaces) of a path; `{name}` is a piece, `{name*}` the rest."""
        pattern = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.+)", path)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
        compiled = re.compile(pattern + "/?")
        for method in methods.split():
            self._routes.append((method, compiled, handler))

    def find(self, method: str, path: str) -> tuple[H, Mapping[str, str]] | set[str]:
        """Return the function and the named pieces, or the methods that the path does have."""
        allowed = set()
        for known, pattern, handler in self._routes:
            match = pattern.fullmatch(path)
            if match and known == method:
                return handler, match.groupdict()
            if match:
                allowed.add(known)
        return allowed
