"""A person at the org's pages, without a browser: logs in, decides, and comes back with the callback URL."""

import re
import ssl
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Self
from urllib.parse import urljoin, urlsplit

import httpx2

_MAX_PAGES = 10


class PageRefused(Exception):
    """The org showed a page without a form, or with an error; the text says what."""

    def __init__(self, response: httpx2.Response) -> None:
        alert = re.search(r'role="alert"[^>]*>([^<]*)<', response.text)
        text = unescape(alert.group(1)) if alert else response.text[:500]
        super().__init__(f"{response.status_code} at {response.url.path}: {text}")
        self.response = response


class _FirstForm(HTMLParser):
    """Finds the first form of a page that has the wanted id, with its hidden fields."""

    def __init__(self, form_id: str) -> None:
        super().__init__()
        self._wanted = form_id
        self._inside = False
        self.action: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note forms and fields."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = given.get("id") == self._wanted
            if self._inside:
                self.action = given.get("action", "")
        elif tag == "input" and self._inside and given.get("type") == "hidden":
            self.fields[given.get("name", "")] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        """Note the end of the form."""
        if tag == "form":
            self._inside = False


class Visitor:
    """One user with a cookie jar."""

    def __init__(self, *, username: str, password: str, ca_file: Path | str) -> None:
        self._username = username
        self._password = password
        context = ssl.create_default_context(cafile=str(ca_file))
        self.client = httpx2.Client(verify=context, timeout=30, trust_env=False, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.client.close()

    def authorize(self, url: str, *, decision: str = "allow") -> str:
        """Open an authorize URL, log in where asked, decide, and return the callback URL that one is sent to.

        Raises:
            PageRefused: The org does not send one back: an error of its own page, or a wrong password.
        """
        org = urlsplit(url).netloc
        response = self.client.get(url)
        for _ in range(_MAX_PAGES):
            if response.is_redirect:
                target = urljoin(str(response.url), response.headers["location"])
                if urlsplit(target).netloc != org:
                    return target
                response = self.client.get(target)
                continue
            response = self._fill_in(response, decision)
        raise PageRefused(response)

    def _fill_in(self, response: httpx2.Response, decision: str) -> httpx2.Response:
        page = response.text
        if response.status_code != 200 or 'role="alert"' in page:
            raise PageRefused(response)
        for form_id, values in (
            ("login_form", {"username": self._username, "password": self._password}),
            ("consent_form", {"decision": decision}),
        ):
            form = _FirstForm(form_id)
            form.feed(page)
            if form.action is not None:
                target = urljoin(str(response.url), form.action)
                return self.client.post(target, data={**form.fields, **values})
        raise PageRefused(response)
