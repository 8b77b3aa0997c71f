"""The URLs of the org: what it calls itself, seen from the request that asks."""

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the org listens and what its public names are.

    Attributes:
        host: Public host name, in every URL that the org gives out.
        http_port: Port of plain HTTP, or `None` where it is off.
        my_domain: The label before `.my.salesforce.com`, for clients that are mapped there.
    """

    host: str
    https_port: int
    http_port: int | None
    pubsub_port: int
    my_domain: str

    @property
    def login_url(self) -> str:
        """Return the public base of the login pages and OAuth endpoints."""
        return f"https://{self.host}:{self.https_port}"

    @property
    def instance_url(self) -> str:
        """Return the public base of the REST API."""
        return self.login_url

    @property
    def pubsub_endpoint(self) -> str:
        """Return host and port of the Pub/Sub API."""
        return f"localhost:{self.pubsub_port}"

    @property
    def control_url(self) -> str:
        """Return the base of the control interface."""
        return f"https://127.0.0.1:{self.https_port}/__control__"

    def login_for(self, scheme: str, host: str) -> str:
        """Return the login base in answers to a request to this scheme and Host."""
        if host.partition(":")[0].endswith(".salesforce.com"):
            return f"https://{host}"
        return f"http://{host}" if scheme == "http" else self.login_url

    def instance_for(self, scheme: str, host: str) -> str:
        """Return the instance base in answers to a request to this scheme and Host."""
        if host.partition(":")[0].endswith(".salesforce.com"):
            return f"https://{self.my_domain}.my.salesforce.com"
        return f"http://{host}" if scheme == "http" else self.instance_url

    def is_mine(self, url: str) -> bool:
        """Say whether a client that calls this its instance URL means this org."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        if host == f"{self.my_domain}.my.salesforce.com":
            return parts.scheme == "https"
        mine = host in {self.host, "localhost", "127.0.0.1"}
        return mine and (parts.scheme, port) in {("https", self.https_port), ("http", self.http_port)}
