"""Which hosts may be called: decided on the parsed address, by whole labels."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from ninelives_server.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRule:
    """The hosts that belong to a service.

    Attributes:
        suffixes: `acme.com` allows `acme.com` and `x.acme.com`, never `notacme.com`. Empty: any host that is
            not private (see `is_public`), which has to be checked after resolution.
    """

    suffixes: tuple[str, ...] = ()

    def names(self, host: str) -> bool:
        """Say whether the host is one of the service's own."""
        labels = host.rstrip(".").lower().split(".")
        return any(labels[-len(own) :] == own for own in (s.split(".") for s in self.suffixes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An address that may be called.

    Attributes:
        needs_public_address: The name says nothing about who owns it, so what it resolves to is checked.
    """

    url: str
    host: str
    port: int
    needs_public_address: bool


def check(url: str, rule: HostRule, insecure_hosts: Iterable[str] = ()) -> Target:
    """Check an address that came from a user or from a provider's answer.

    `insecure_hosts` are exempt from the host, https and loopback checks; they are empty unless
    NINELIVES_ALLOW_INSECURE_PROVIDERS is set.

    Raises:
        Invalid: It may not be called; the message names the host and why.
    """
    parts = _parsed(url)
    host = (parts.hostname or "").rstrip(".").lower()
    if host in insecure_hosts and parts.scheme in {"http", "https"}:
        return Target(url=url, host=host, port=_port(parts), needs_public_address=False)
    if parts.scheme != "https":
        raise Invalid(f"{shown(parts)} is not an https address", code="host_not_allowed")
    if rule.suffixes and not rule.names(host):
        raise Invalid(
            f"the host {host!r} does not belong to this service ({', '.join(rule.suffixes)})",
            code="host_not_allowed",
        )
    return Target(url=url, host=host, port=_port(parts), needs_public_address=not rule.suffixes)


def shown(parts: SplitResult) -> str:
    """Return an address for a message: without user info, query and fragment."""
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def _parsed(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError as error:
        raise Invalid(f"this is not a valid address: {error}", code="host_not_allowed") from None
    if not parts.hostname:
        raise Invalid("this is not a valid address: it names no host", code="host_not_allowed")
    if parts.username is not None or parts.password is not None:
        raise Invalid(f"{shown(parts)} must not have user info", code="host_not_allowed")
    if any(c in url for c in "\\\t\r\n ") or not parts.hostname.isascii():
        raise Invalid(f"{shown(parts)} is not a plain ASCII address", code="host_not_allowed")
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or (80 if parts.scheme == "http" else 443)


def is_public(address: str) -> bool:
    """Say whether an IP address may be connected to where the host's name proves nothing.

    Refused: private, loopback, link-local, multicast, reserved and unspecified ones, also where they hide
    inside IPv6 (mapped, 6to4, Teredo, NAT64).
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = _embedded(ip)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_link_local)


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip.teredo is not None:
        return ip.teredo[1]
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
