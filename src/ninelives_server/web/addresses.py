"""Addresses as a browser sees them: links, origins, cookie paths.

The server may be reached under several addresses at once: localhost, a public one and one for the pages, each
perhaps with a path in front. Every link of the pages is made here, so that such a path is never forgotten.
"""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from urllib.parse import quote, urlencode, urlsplit

from starlette.requests import Request

from ninelives_server.settings import Settings

STATIC = files("ninelives_server.web") / "static"


def prefix_of(url: str | None) -> str:
    """Return the path in front of an address: `/nl` of `https://example.com/nl`, else nothing."""
    return urlsplit(url or "").path.rstrip("/")


def origin_of(url: str) -> str:
    """Return scheme, host and port of an address (RFC 6454, section 6.1)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(STATIC.joinpath(name).read_bytes()).hexdigest()[:12]


class Addresses:
    """Makes links below one public prefix.

    Attributes:
        prefix: Path in front of everything, without a slash at its end.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def url(self, *segments: str, **query: object) -> str:
        """Return the path of a page; segments are quoted, query values that are `None` or empty left out."""
        path = "/".join(quote(str(segment), safe="") for segment in segments)
        pairs = [(name, value) for name, value in query.items() if value is not None and value != ""]
        return f"{self.prefix}/{path}" + (f"?{urlencode(pairs)}" if pairs else "")

    def static(self, name: str) -> str:
        """Return the path of a static file; it changes with the file's content, so browsers may keep it."""
        return f"{self.prefix}/static/{name}?v={_digest(name)}"

    @property
    def cookie_path(self) -> str:
        """Path for cookies of the pages."""
        return self.prefix or "/"


def of(request: Request, settings: Settings) -> Addresses:
    """Return the addresses for the page that is being asked for.

    The host that the browser named decides; on this machine's own name the public path works too, because it
    is taken off wherever it stands.
    """
    host = request.headers.get("host", "").lower()
    for url in (settings.web_url, settings.public_url):
        if url and urlsplit(url).netloc == host:
            return Addresses(prefix_of(url))
    is_callback = request.url.path.startswith("/oauth/")
    return Addresses(prefix_of(settings.base_url if is_callback else settings.pages_url))


def own_origins(settings: Settings) -> Iterator[str]:
    """Yield the origins under which this server's own pages are known to be reached."""
    for url in (settings.public_url, settings.web_url):
        if url:
            yield origin_of(url)
    for host in {"localhost", "127.0.0.1", "[::1]", settings.host.lower()}:
        yield f"http://{host}:{settings.port}"


def is_secure(request: Request, settings: Settings) -> bool:
    """Say whether the browser speaks https to us, perhaps by way of a proxy that ends it."""
    if request.url.scheme == "https":
        return True
    host = request.headers.get("host", "").lower()
    urls = [url for url in (settings.public_url, settings.web_url) if url]
    return any(urlsplit(url).netloc == host and urlsplit(url).scheme == "https" for url in urls)


def form_targets(settings: Settings) -> tuple[str, ...]:
    """Return where forms may lead: browsers apply `form-action` to the redirect after a form post as well."""
    return tuple(sorted({origin_of(settings.base_url), origin_of(settings.pages_url)}))
