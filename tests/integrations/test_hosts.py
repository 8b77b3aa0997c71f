"""Which hosts may be called: each test is a way around the rule that must not work."""

import pytest

from ninelives_server.errors import Invalid
from ninelives_server.integrations import hosts
from ninelives_server.integrations.hosts import HostRule

ACME = HostRule(suffixes=("acme.com",))
ANY = HostRule()
INSECURE = frozenset({"localhost", "127.0.0.1"})


@pytest.mark.parametrize(
    "url", ["https://acme.com", "https://login.acme.com/x", "https://A.B.ACME.com:8443/"]
)
def test_the_services_own_hosts_are_allowed(url: str):
    """Whole labels, any case, any port."""
    target = hosts.check(url, ACME)

    assert target.host.endswith("acme.com")
    assert not target.needs_public_address


@pytest.mark.parametrize(
    "url",
    [
        "https://notacme.com",
        "https://acme.com.evil.example",
        "https://evil.example/acme.com",
        "https://evil.example#acme.com",
        "https://evil.example?acme.com",
        "https://acme.com@evil.example/",
        "https://evil.example\\@acme.com/",
        "https://acme.com:pw@login.acme.com/",
        "https://acme.com\\.evil.example",
        "https://acme.com evil.example",
        "https://acme.com\t.evil.example",
        "https://аcme.com",  # a Cyrillic letter
        "https://acme.com:99999",
        "http://acme.com",
        "ftp://acme.com",
        "//acme.com",
        "acme.com",
        "https://",
        "https:///path",
        "https://[::1",
        "",
    ],
)
def test_everything_else_is_refused(url: str):
    """The parsed host decides, never a part of the text."""
    with pytest.raises(Invalid) as caught:
        hosts.check(url, ACME, INSECURE)

    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:8443/x", "https://127.0.0.1", "https://localhost"])
def test_insecure_hosts_are_exempt_only_where_they_are_named(url: str):
    """NINELIVES_ALLOW_INSECURE_PROVIDERS is off by default."""
    assert hosts.check(url, ACME, INSECURE).needs_public_address is False

    with pytest.raises(Invalid):
        hosts.check(url, ACME)


def test_an_insecure_host_is_a_whole_name():
    """Not its sub-domains, and no other scheme."""
    for url in ("https://x.localhost", "https://localhost.evil.example", "file://localhost/etc/passwd"):
        with pytest.raises(Invalid):
            hosts.check(url, ACME, INSECURE)


def test_without_a_list_the_address_has_to_be_looked_at():
    """The name proves nothing then."""
    assert hosts.check("https://anything.example", ANY).needs_public_address


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.8.8.8", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a00:1::", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "2001:0:53aa:64c:0:fbd6:f5ff:fffe", "::127.0.0.1",
    ],
)  # fmt: skip
def test_private_addresses_are_refused_in_every_disguise(address: str):
    """Loopback, private, link-local (cloud metadata!), multicast, reserved, and those inside IPv6."""
    assert not hosts.is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address: str):
    """The rest of the internet."""
    assert hosts.is_public(address)
