"""What the services of this package share: store, vault, integrations, outgoing HTTP and addresses."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from ninelives_server.integrations.http import Outbound
from ninelives_server.integrations.registry import Registry
from ninelives_server.settings import Settings
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Handed to every service of this package.

    Attributes:
        base_url: Source of every address that leaves the server; without a trailing slash.
        pages_url: Of the pages, where it differs.
    """

    store: Store
    vault: Vault
    registry: Registry
    http: Outbound
    base_url: str
    pages_url: str

    def callback_url(self, integration: str) -> str:
        """Return the one callback of an integration on this server."""
        return f"{self.base_url}/oauth/redirect/{integration}"

    @property
    def cookie_path(self) -> str:
        """Path of the flow cookie; a path prefix of the public address is kept."""
        return f"{urlsplit(self.base_url).path}/oauth"

    @property
    def is_https(self) -> bool:
        """Whether browsers reach this server by https."""
        return self.base_url.startswith("https://")


def outbound(settings: Settings) -> Outbound:
    """Make the outgoing HTTP of these settings."""
    insecure = settings.insecure_host_names if settings.allow_insecure_providers else frozenset()
    return Outbound(ca_file=settings.ca_file, insecure_hosts=insecure)


def parts(
    *, store: Store, vault: Vault, registry: Registry, settings: Settings, http: Outbound | None = None
) -> Parts:
    """Bundle what `server.py` made."""
    return Parts(
        store=store,
        vault=vault,
        registry=registry,
        http=http or outbound(settings),
        base_url=settings.base_url,
        pages_url=settings.pages_url,
    )


def callback_warning(base_url: str) -> str | None:
    """Say what is wrong with callbacks at this address; `None` for https and `http://localhost`.

    Salesforce takes `http://localhost:PORT/…` as a callback and refuses `http://127.0.0.1`, addresses of the
    local network and plain http names. Only the user's browser has to reach the callback.
    """
    parsed = urlsplit(base_url)
    if parsed.scheme == "https" or parsed.hostname == "localhost":
        return None
    return (
        f"{base_url} is a plain http address, which OAuth services refuse as a callback. Two ways out:"
        " set NINELIVES_PUBLIC_URL (`--public-url`) to an https address of this server, behind a TLS proxy or"
        " a tunnel; or open the pages as http://localhost, through `ssh -L` if the server is elsewhere"
    )
