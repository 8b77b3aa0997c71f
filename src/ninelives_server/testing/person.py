"""A person with a browser that has no JavaScript: opens pages, fills forms, follows redirects.

It speaks HTTP and reads the HTML that it gets, so what it can do, anybody can; demos and tests use it to go
through the real OAuth pages.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Self
from urllib.parse import urljoin

import httpx2


@dataclass(slots=True)
class Form:
    """A form of a page.

    Attributes:
        fields: Name and value of inputs, selects and text areas as the page presets them.
        buttons: Name and value of the submit buttons that have a name.
    """

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Reader(HTMLParser):
    """Collects forms, links, the meta refresh and the visible text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.refresh: str | None = None
        self.links: list[str] = []
        self.text: list[str] = []
        self._open: Form | None = None
        self._select: str | None = None
        self._area: str | None = None
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of what matters."""
        given = {name: value or "" for name, value in attrs}
        if tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
            self.refresh = given.get("content", "").partition("=")[2].strip(" '\"") or None
        elif tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag == "form":
            self._open = Form(given.get("action", ""), given.get("method", "get").upper())
            self.forms.append(self._open)
        elif tag in {"script", "style"}:
            self._hidden += 1
        elif self._open is not None:
            self._control(tag, given, self._open)

    def _control(self, tag: str, given: dict[str, str], form: Form) -> None:
        name, kind = given.get("name", ""), given.get("type", "")
        if tag == "button" or (tag == "input" and kind == "submit"):
            if name:
                form.buttons.append((name, given.get("value", "")))
        elif tag == "input" and name and (kind not in {"checkbox", "radio"} or "checked" in given):
            form.fields[name] = given.get("value", "on" if kind == "checkbox" else "")
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select is not None:
            if "selected" in given or self._select not in form.fields:
                form.fields[self._select] = given.get("value", "")
        elif tag == "textarea":
            self._area = name
            form.fields[name] = ""

    def handle_endtag(self, tag: str) -> None:
        """Close what was open."""
        if tag == "form":
            self._open = None
        elif tag == "select":
            self._select = None
        elif tag == "textarea":
            self._area = None
        elif tag in {"script", "style"} and self._hidden:
            self._hidden -= 1

    def handle_data(self, data: str) -> None:
        """Keep text, of the page or of a text area."""
        if self._area is not None and self._open is not None:
            self._open.fields[self._area] += data
        elif not self._hidden and data.strip():
            self.text.append(data.strip())


@dataclass(frozen=True, slots=True)
class Page:
    """A page as a person sees it; `links` are whole addresses."""

    url: str
    status: int
    html: str
    text: str
    forms: list[Form]
    links: list[str]
    refresh: str | None


class Person:
    """Somebody at a browser of their own."""

    def __init__(self, verify: ssl.SSLContext | bool = True) -> None:
        self._http = httpx2.Client(verify=verify, follow_redirects=True, timeout=60, trust_env=False)
        self.seen: list[Page] = []

    def __enter__(self) -> Self:
        """Begin to browse."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the browser."""
        self._http.close()

    @property
    def page(self) -> Page:
        """The page that is open now."""
        return self.seen[-1]

    def open(self, url: str) -> Page:
        """Open an address."""
        return self._show(self._http.get(url))

    def submit(
        self,
        values: Mapping[str, str] | None = None,
        *,
        button: tuple[str, str] | None = None,
        form: int = 0,
    ) -> Page:
        """Fill a form of the open page and press a button.

        Args:
            values: What is typed, by field name; the rest stays as the page presets it.
            button: Name and value of the button, where the form has several.
            form: Which form of the page, from 0.
        """
        chosen = self.page.forms[form]
        values = values or {}
        if unknown := set(values) - set(chosen.fields):
            raise LookupError(
                f"{self.page.url} has no field {sorted(unknown)}; it has {sorted(chosen.fields)}"
            )
        data = {**chosen.fields, **values, **dict([button] if button else [])}
        target = urljoin(self.page.url, chosen.action or self.page.url)
        headers = {
            "Referer": self.page.url,
            "Origin": _origin(self.page.url),
            "Sec-Fetch-Site": "same-origin",
        }
        if chosen.method == "POST":
            return self._show(self._http.post(target, data=data, headers=headers))
        return self._show(self._http.get(target, params=data))

    def follow_refresh(self) -> Page:
        """Go where the page's meta refresh leads, as a browser does by itself."""
        if self.page.refresh is None:
            raise LookupError(f"{self.page.url} leads nowhere by itself: {self.page.text[:300]}")
        return self.open(urljoin(self.page.url, self.page.refresh))

    def _show(self, answer: httpx2.Response) -> Page:
        reader = _Reader()
        reader.feed(answer.text)
        text = " ".join(reader.text)
        url = str(answer.url)
        links = [urljoin(url, link).partition("#")[0] for link in reader.links]
        page = Page(url, answer.status_code, answer.text, text, reader.forms, links, reader.refresh)
        self.seen.append(page)
        return page


def _origin(url: str) -> str:
    parts = httpx2.URL(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.host}{port}"


def authorise(
    person: Person, start: dict[str, str], username: str, password: str, *, decision: str = "allow"
) -> Page:
    """Go from a start link through the provider's login and consent back to the outcome page.

    Args:
        person: Whose browser it is.
        start: `{url, code}` as `connection init --no-wait -o json` prints them.
        username: Of the account at the provider.
        password: Of the account at the provider.
        decision: `allow` or `deny`.
    """
    person.open(start["url"])
    typed = {"code": start["code"]} if "code" in person.page.forms[0].fields else {}
    person.submit(typed)
    person.follow_refresh()
    if "username" in person.page.forms[0].fields:
        person.submit({"username": username, "password": password})
    return person.submit(button=("decision", decision))
