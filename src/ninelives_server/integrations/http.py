"""Outgoing HTTP on a user's word: checked hosts, no redirects, bounded time and size.

A host that only its name vouches for is connected to by the address that was checked, so that a second answer
of the name server cannot lead elsewhere. Proxies of the environment are not used: they would resolve the name
again.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import httpx2

from ninelives_server.errors import Invalid
from ninelives_server.integrations import hosts
from ninelives_server.integrations.hosts import HostRule, Target
from ninelives_server.oauth.messages import Answer, Flow, Request

T = TypeVar("T")

#: For one request, from connecting to the last byte. seconds
TIME_LIMIT = 20.0
#: Answers of the services that we call are small; what is longer is cut off. bytes
BODY_LIMIT = 4 * 1024 * 1024

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver for the addresses of a host, in the order of preference."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Trust the system's authorities, and those in `ca_file` beside them."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=str(ca_file))
    return context


class Outbound:
    """Sends requests and drives flows."""

    def __init__(
        self,
        *,
        ca_file: Path | None = None,
        insecure_hosts: frozenset[str] = frozenset(),
        time_limit: float = TIME_LIMIT,
        resolver: Resolve = resolve,
    ) -> None:
        self.insecure_hosts = insecure_hosts
        self._ca_file = ca_file
        self._context = tls_context(ca_file)
        self._time_limit = time_limit
        self._resolve = resolver

    def patient(self, time_limit: float) -> "Outbound":
        """Return the same with another time limit for one request, in seconds."""
        return Outbound(
            ca_file=self._ca_file,
            insecure_hosts=self.insecure_hosts,
            time_limit=time_limit,
            resolver=self._resolve,
        )

    async def run(self, flow: Flow[T], rule: HostRule) -> T:
        """Drive a flow to its end and return what it found.

        Raises:
            Invalid: It wants to call a host that is not allowed; nothing was sent there.
        """
        try:
            request = next(flow)
            while True:
                request = flow.send(await self.send(request, rule))
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            flow.close()

    async def send(self, request: Request, rule: HostRule) -> Answer:
        """Send one request; where no answer comes, the answer says why.

        Raises:
            Invalid: The host is not allowed.
        """
        target = hosts.check(request.url, rule, self.insecure_hosts)
        try:
            async with asyncio.timeout(self._time_limit):
                address = await self._checked_address(target)
                return await self._send(request, target, address)
        except TimeoutError:
            return Answer(status=0, failure=f"{target.host} did not answer within {self._time_limit:g} s")
        except OSError as error:
            return Answer(
                status=0,
                failure=f"the host {target.host} cannot be found: {error.strerror or error}",
                may_have_arrived=False,
            )

    async def _checked_address(self, target: Target) -> str | None:
        if not target.needs_public_address:
            return None
        addresses = await self._resolve(target.host, target.port)
        refused = [a for a in addresses if not hosts.is_public(a)]
        if refused or not addresses:
            found = ", ".join(refused) or "nothing"
            raise Invalid(
                f"the host {target.host!r} resolves to {found}, which is not a public address",
                code="host_not_allowed",
            )
        return addresses[0]

    async def _send(self, request: Request, target: Target, address: str | None) -> Answer:
        url = httpx2.URL(request.url)
        headers = {"User-Agent": "ninelives", **request.headers}
        extensions: dict[str, str] = {}
        if address is not None:
            headers["Host"] = url.netloc.decode("ascii")
            extensions["sni_hostname"] = target.host
            url = url.copy_with(host=address)
        # A connection of its own for each request: one that was verified for another name on the same
        # address must never be used again, and these calls are rare.
        async with httpx2.AsyncClient(
            verify=self._context, trust_env=False, timeout=self._time_limit
        ) as client:
            try:
                async with client.stream(
                    request.method, url, headers=headers, data=_form(request), extensions=extensions
                ) as response:
                    return Answer(
                        status=response.status_code,
                        headers={k.lower(): v for k, v in response.headers.items()},
                        body=await _bounded(response),
                    )
            except httpx2.TransportError as error:
                return _failed(target.host, error)


def _form(request: Request) -> dict[str, str] | None:
    return None if request.form is None else dict(request.form)


async def _bounded(response: httpx2.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part[: BODY_LIMIT - len(body)]
        if len(body) >= BODY_LIMIT:
            break
    return bytes(body)


def _failed(host: str, error: httpx2.TransportError) -> Answer:
    never_sent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
    cause = str(error).strip() or type(error).__name__
    return Answer(status=0, failure=f"{host} cannot be reached: {cause}", may_have_arrived=not never_sent)
