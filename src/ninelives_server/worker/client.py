"""What a worker asks its server over HTTP: its configuration, builds, journals and large values.

Records and the server's answers travel over the link (`link`).
"""

import asyncio
import hashlib
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from ninelives.run import wire
from ninelives_server import log
from ninelives_server.errors import SetupError

logger = log.get(__name__)

_TIMEOUT = httpx2.Timeout(30.0, connect=5.0)
#: Answers of a server whose database is away, or of a proxy whose server is. They end no session.
_AWAY = frozenset({502, 503, 504})
#: How long a request without any answer is sent again. Where the server is gone the supervisor ends sessions
#: earlier; this is for a way that stays closed while the link is open. seconds
_SILENCE = 300.0
#: The same for a request that the server failed to answer. seconds
_PATIENCE = 30.0
_SHORTEST, _LONGEST = 0.05, 2.0  # seconds between two tries
#: What a frame begins with: the number of bytes that follow.
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Config:
    """What the server tells its workers.

    Attributes:
        temporal_secret: What the door of an embedded Temporal asks for; only workers on the server's own
            machine can reach that one. `None` for any other Temporal.
    """

    temporal_address: str
    temporal_namespace: str
    isolation_required: bool
    temporal_secret: str | None = field(default=None, repr=False)


class Refused(Exception):
    """The server answered that it will not, and would again.

    Attributes:
        status: Of its answer; 0 where it gave none for very long.
    """

    def __init__(self, what: str, status: int) -> None:
        super().__init__(
            f"{what}: the server answered {status}" if status else f"{what}: the server does not answer"
        )
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
            temporal_secret=given.get("temporal_secret"),
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
        """Yield a session's journal in whole frames `past`; where it broke off it is taken up again.

        Raises:
            Refused: The epoch is over, or the server fails again and again.
        """
        url, frames, again = self.url(f"sessions/{session_id}/journal"), _Frames(), _Again("journal")
        while True:
            status, params = 0, {"epoch": str(epoch), "after": str(frames.last_seq)}
            try:
                async with self._http.stream("GET", url, params=params) as answer:
                    if (status := answer.status_code) == 200:
                        async for piece in answer.aiter_bytes():
                            if whole := frames.take(piece):
                                yield whole
                        return
            except httpx2.TransportError as error:
                logger.info("server.unreachable", path="journal", error=type(error).__name__)
                status = 0
            frames.drop_rest()
            await again.later(status)

    async def _get(self, path: str, params: dict[str, str]) -> bytes:
        return (await self._send("GET", path, params)).content

    async def _send(
        self, method: str, path: str, params: dict[str, str], content: bytes | None = None
    ) -> httpx2.Response:
        again = _Again(path.partition("/")[0])
        while True:
            status = 0
            try:
                answer = await self._http.request(method, self.url(path), params=params, content=content)
                status = answer.status_code
            except httpx2.TransportError as error:
                logger.info("server.unreachable", path=path, error=type(error).__name__)
            if 200 <= status < 300:
                return answer
            await again.later(status)


class _Again:
    """Says when a request is sent again; an outage must not look like a fault of the session."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._pause = _SHORTEST
        self._began = asyncio.get_running_loop().time()

    async def later(self, status: int) -> None:
        """Wait before the next try; `status` is that of the last answer, 0 where there was none.

        Raises:
            Refused: There is no point in another try.
        """
        passed = asyncio.get_running_loop().time() - self._began
        is_refused = 0 < status < 500
        is_hopeless = status not in _AWAY and passed > (_PATIENCE if status else _SILENCE)
        if is_refused or is_hopeless:
            raise Refused(self._what, status)
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST)


class _Frames:
    """Cuts a stream of frames `past` into whole ones.

    Attributes:
        last_seq: Of the last frame that was whole; 0 before the first.
    """

    def __init__(self) -> None:
        self.last_seq = 0
        self._rest = bytearray()

    def take(self, piece: bytes) -> bytes:
        """Return the frames that are whole now."""
        self._rest += piece
        begin, end = 0, 0
        while (after := self._end_of_frame(end)) <= len(self._rest):
            begin, end = end, after
        whole = bytes(self._rest[:end])
        del self._rest[:end]
        if whole:
            [last] = wire.decode_all(whole[begin:])
            self.last_seq = int(last.head["seq"])
        return whole

    def drop_rest(self) -> None:
        """Forget the beginning of a frame whose end did not come."""
        self._rest.clear()

    def _end_of_frame(self, at: int) -> int:
        """Return where the frame that begins at `at` ends; beyond the buffer where that is not known yet."""
        if len(self._rest) - at < _LENGTH.size:
            return len(self._rest) + 1
        return at + _LENGTH.size + int(_LENGTH.unpack_from(self._rest, at)[0])


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
