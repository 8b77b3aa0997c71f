"""What a worker asks its server over HTTP: its configuration, builds, journals and large values.

Records and the server's answers travel over the link (`link`).
"""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2

from ninelives_server import log
from ninelives_server.errors import SetupError

logger = log.get(__name__)

_TIMEOUT = httpx2.Timeout(30.0, connect=5.0)
#: How long a request that the server could not answer is tried again, with pauses up to `_LONGEST`. seconds
_PATIENCE = 30.0
_SHORTEST, _LONGEST = 0.05, 2.0


@dataclass(frozen=True, slots=True)
class Config:
    """What the server tells its workers.

    Attributes:
        temporal_is_embedded: Only workers on the server's own machine can reach it.
    """

    temporal_address: str
    temporal_namespace: str
    isolation_required: bool
    temporal_is_embedded: bool = False


class Refused(Exception):
    """The server answered that it will not, and would again.

    Attributes:
        status: Of its answer.
    """

    def __init__(self, what: str, status: int) -> None:
        super().__init__(f"{what}: the server answered {status}")
        self.status = status


class Client:
    """Speaks to one server with a worker's token."""

    def __init__(self, server_url: str, token: str, ca_file: Path | None = None) -> None:
        self.server_url = server_url.rstrip("/")
        self._token = token
        self._context = trust(ca_file)
        self._http = httpx2.AsyncClient(
            headers=self.headers,
            verify=self._context,
            timeout=_TIMEOUT,
            follow_redirects=False,
            trust_env=False,
        )

    @property
    def headers(self) -> dict[str, str]:
        """What proves who we are."""
        return {"Authorization": f"Bearer {self._token}"}

    @property
    def context(self) -> ssl.SSLContext:
        """Whom to trust: the system's authorities and the configured one."""
        return self._context

    def url(self, path: str) -> str:
        """Return the address of something below `/api/v1/worker`."""
        return f"{self.server_url}/api/v1/worker/{path}"

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def config(self) -> Config:
        """Ask for the configuration, for as long as the server does not answer.

        Raises:
            SetupError: The token is not accepted, or the address is not that of a server.
        """
        answer = await self._config_answer()
        if answer.status_code in {401, 403}:
            raise SetupError(
                f"{self.server_url} does not accept this worker's token; "
                "make one with `ninelives token create --scope worker`"
            )
        if answer.status_code != 200:
            raise SetupError(f"{self.server_url} answers {answer.status_code}; is it a Ninelives server")
        given = answer.json()
        return Config(
            temporal_address=str(given["temporal_address"]),
            temporal_namespace=str(given["temporal_namespace"]),
            isolation_required=bool(given.get("isolation_required")),
            temporal_is_embedded=bool(given.get("temporal_is_embedded")),
        )

    async def _config_answer(self) -> httpx2.Response:
        """Ask until there is an answer that would stay the same."""
        pause = _SHORTEST
        while True:
            said: dict[str, object]
            try:
                answer = await self._http.get(self.url("config"))
                if answer.status_code < 500:
                    return answer
                said = {"status": answer.status_code}
            except httpx2.TransportError as error:
                said = {"error": type(error).__name__}
            logger.info("server.unreachable", url=self.server_url, **said)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST)

    async def build(self, sha256: str, session_id: str) -> bytes:
        """Return a build's bundle, a `.tar.gz`."""
        return await self._get(f"builds/{sha256}", {"session": session_id})

    async def blob(self, sha256: str, session_id: str, epoch: int) -> bytes:
        """Return a large value."""
        return await self._get(f"blobs/{sha256}", {"session": session_id, "epoch": str(epoch)})

    async def put_blob(self, value: bytes, session_id: str, epoch: int) -> str:
        """Store a large value ahead of the record that names it; return its name."""
        name = hashlib.sha256(value).hexdigest()
        params = {"session": session_id, "epoch": str(epoch)}
        await self._send("PUT", f"blobs/{name}", params, value)
        return name

    async def journal(self, session_id: str, epoch: int) -> AsyncIterator[bytes]:
        """Yield the pieces of a session's journal, in frames `past`; not tried again in the middle."""
        url = self.url(f"sessions/{session_id}/journal")
        async with self._http.stream("GET", url, params={"epoch": str(epoch)}) as answer:
            if answer.status_code != 200:
                raise Refused("journal", answer.status_code)
            async for piece in answer.aiter_bytes():
                yield piece

    async def _get(self, path: str, params: dict[str, str]) -> bytes:
        return (await self._send("GET", path, params)).content

    async def _send(
        self, method: str, path: str, params: dict[str, str], content: bytes | None = None
    ) -> httpx2.Response:
        loop = asyncio.get_running_loop()
        pause, end = _SHORTEST, loop.time() + _PATIENCE
        while True:
            status = 0
            try:
                answer = await self._http.request(method, self.url(path), params=params, content=content)
                status = answer.status_code
            except httpx2.TransportError as error:
                logger.info("server.unreachable", path=path, error=type(error).__name__)
            if 200 <= status < 300:
                return answer
            if 300 <= status < 500 or loop.time() > end:
                raise Refused(path.partition("/")[0], status)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST)


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities and the one in `ca_file`.

    Raises:
        SetupError: The file cannot be read.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=str(ca_file))
        except (OSError, ssl.SSLError) as error:
            raise SetupError(f"the certificates in {str(ca_file)!r} cannot be read: {error}") from None
    return context
