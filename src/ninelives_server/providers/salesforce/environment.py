"""Where an org's users log in: production, a sandbox, or the org's own My Domain.

People paste what their browser shows, and that is often an address of the user interface, where the API does
not answer. Those are corrected to the My Domain address that belongs to them (Salesforce Help, "My Domain URL
Formats").
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from ninelives_server.errors import Invalid
from ninelives_server.integrations import hosts
from ninelives_server.integrations.hosts import HostRule

PRODUCTION = "https://login.salesforce.com"
SANDBOX = "https://test.salesforce.com"
PUBSUB = "api.pubsub.salesforce.com:7443"

#: Login, My Domain in all its partitions, Experience Cloud sites, China, United States government.
HOSTS = HostRule(
    suffixes=("salesforce.com", "my.site.com", "sfcrmproducts.cn", "salesforce.mil", "cloudforce.com")
)

#: Ends of addresses of the user interface -> the end of the My Domain address of the same org.
_INTERFACE = {
    ".lightning.force.com": ".my.salesforce.com",
    ".my.salesforce-setup.com": ".my.salesforce.com",
    ".file.force.com": ".my.salesforce.com",
    ".lightning.crmforce.mil": ".my.salesforce.mil",
    ".lightning.sfcrmapps.cn": ".my.sfcrmproducts.cn",
}

_NAMED = {
    "": "production",
    "production": "production",
    "login.salesforce.com": "production",
    "sandbox": "sandbox",
    "test.salesforce.com": "sandbox",
}


def login_url(settings: Mapping[str, str]) -> str:
    """Return the address under which tokens are asked for; without a trailing slash."""
    environment = settings.get("environment", "production")
    return {"production": PRODUCTION, "sandbox": SANDBOX}.get(environment, environment)


def normalise(text: str, insecure_hosts: frozenset[str]) -> str:
    """Return `production`, `sandbox` or an address such as `https://acme.my.salesforce.com`.

    Raises:
        Invalid: It is an address of nobody we know.
    """
    entered = text.strip()
    if entered.lower() in _NAMED:
        return _NAMED[entered.lower()]
    url = entered if "://" in entered else f"https://{entered}"
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise _invalid(f"{entered!r} is not an address") from None
    if host in _NAMED and host:
        return _NAMED[host]
    scheme = "http" if parts.scheme == "http" and host in insecure_hosts else "https"
    userinfo = "user@" if parts.username is not None else ""
    found = f"{scheme}://{userinfo}{_my_domain(host)}" + (f":{port}" if port else "")
    try:
        hosts.check(found, HOSTS, insecure_hosts)
    except Invalid as error:
        raise _invalid(str(error)) from None
    return found


def _my_domain(host: str) -> str:
    for shown, real in _INTERFACE.items():
        if host.endswith(shown):
            return host.removesuffix(shown) + real
    return host


def _invalid(why: str) -> Invalid:
    message = (
        f"{why}; enter the My Domain address from Setup > My Domain, such as https://acme.my.salesforce.com"
    )
    return Invalid(message, fields={"environment": message})


def normalise_pubsub(text: str, insecure_hosts: frozenset[str]) -> str:
    """Return `host:port` of the Pub/Sub API; empty where Salesforce's own global one is meant.

    Raises:
        Invalid: It is no such address, or not one of Salesforce's.
    """
    entered = text.strip().removeprefix("https://").rstrip("/")
    if entered in {"", PUBSUB}:
        return ""
    host, _, port = entered.rpartition(":")
    if not host and not port.isdigit():
        host, port = entered, "7443"
    try:
        hosts.check(f"https://{host}:{port}", HOSTS, insecure_hosts)
    except Invalid as error:
        message = f"{error}; leave it empty, or enter an address such as {PUBSUB}"
        raise Invalid(message, fields={"pubsub_endpoint": message}) from None
    return f"{host.lower()}:{port}"
