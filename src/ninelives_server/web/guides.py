"""Guides that forms link to, from the documentation, so that they are there without a network.

The files are those of `docs/`: each one here is a symbolic link to it, which a wheel holds as a copy.
"""

import re
from importlib.resources import files
from itertools import pairwise

from fastapi import APIRouter
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from starlette.responses import Response

from ninelives_server.errors import NotFound
from ninelives_server.web.guards import Anybody, PageRoute

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_GUIDES = files("ninelives_server.web") / "guides"
_PATH = re.compile(r"[a-z0-9-]+(/[a-z0-9-]+)*")
_ADMONITION = re.compile(r'^!!! (\w+)(?: "([^"]*)")?\n((?:(?: {4}.*)?\n)+)', re.MULTILINE)


def _plain(text: str) -> str:
    """Turn what only the documentation's own renderer knows into common Markdown."""

    def quote(match: re.Match[str]) -> str:
        title = match[2] or match[1].capitalize()
        lines = [line.removeprefix("    ") for line in match[3].rstrip().splitlines()]
        return "\n".join(f"> {line}" for line in (f"**{title}**", "", *lines)) + "\n\n"

    return _ADMONITION.sub(quote, text)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _name_headings(tokens: list[Token]) -> None:
    """Give headings ids, so that links within the page work."""
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _slug(inline.content))


def _title(tokens: list[Token]) -> str:
    return next((after.content for token, after in pairwise(tokens)
                 if token.type == "heading_open"), "Guide")  # fmt: skip


def _drop_links(tokens: list[Token]) -> None:
    """Take away links to pages of the documentation that are not here; their text stays."""
    for token in tokens:
        if token.children:
            depth_of_dropped = 0
            for child in token.children:
                if child.type == "link_open" and _leads_away(str(child.attrGet("href") or "")):
                    child.hidden, depth_of_dropped = True, depth_of_dropped + 1
                elif child.type == "link_close" and depth_of_dropped:
                    child.hidden, depth_of_dropped = True, depth_of_dropped - 1
            token.children = [child for child in token.children if not child.hidden]


def _leads_away(href: str) -> bool:
    return not href.startswith(("#", "https://", "http://"))


def render(text: str) -> tuple[str, Markup]:
    """Return title and HTML of a guide; HTML in its text is shown, not used."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(_plain(text))
    _name_headings(tokens)
    _drop_links(tokens)
    return _title(tokens), Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - no HTML passes


def source(path: str) -> str | None:
    """Return the text of a guide; `None` where there is none."""
    if not _PATH.fullmatch(path):
        return None
    file = _GUIDES.joinpath(f"{path}.md")
    return file.read_text(encoding="utf-8") if file.is_file() else None


@router.get("/docs/{path:path}")
async def guide(view: Anybody, path: str) -> Response:
    """Show a guide."""
    text = source(path)
    if text is None:
        raise NotFound(f"there is no guide {path!r} here")
    title, body = render(text)
    return view.page("guide.html", title=title, body=body)
