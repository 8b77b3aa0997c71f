"""Whether other people's systems can reach this server: what webhooks need and nothing else does."""

import ipaddress
from urllib.parse import urlsplit


def unreachable(base_url: str) -> str:
    """Return why webhooks at an address cannot be called from outside; empty where nothing says so."""
    host = (urlsplit(base_url).hostname or "").lower()
    way_out = "set NINELIVES_PUBLIC_URL (`--public-url`) to an address of a proxy or tunnel"
    try:
        is_private = not ipaddress.ip_address(host).is_global
    except ValueError:
        is_private = (
            host == "localhost" or "." not in host or host.endswith((".local", ".localhost", ".internal"))
        )
    return f"{base_url} is an address of this machine or network only; {way_out}" if is_private else ""
