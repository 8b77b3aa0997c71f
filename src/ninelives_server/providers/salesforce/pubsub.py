"""Salesforce's Pub/Sub API over gRPC: calls, flow control, a watchdog, and what its errors mean.

Knows nothing of triggers and rows; `events` says which topic to read and what to do about a lost token or
cursor. The service is described by `pb/pubsub_api.proto` (github.com/forcedotcom/pub-sub-api).
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from ninelives_server.errors import NeedsAdmin, Transient
from ninelives_server.integrations.streams import ApiToken
from ninelives_server.providers.salesforce.pb import pubsub_api_pb2 as pb
from ninelives_server.providers.salesforce.pb import pubsub_api_pb2_grpc as stubs

#: Salesforce counts more than this as this (Pub/Sub API, "Pull Subscription and Flow Control").
MOST_OUTSTANDING = 100
#: Salesforce says something at least every 270 s; a stream that is silent for longer is dead. seconds
LONGEST_SILENCE = 330.0
#: For calls with one answer. seconds
CALL_LIMIT = 20.0
#: A server may hold back its headers until it has something to say: then it is accepted if it is not refused
#: within this time. seconds
_ACCEPTED_AFTER = 5.0
#: A refusal may come as headers and end in two steps that follow each other closely. seconds
_SETTLED_AFTER = 0.1
_MESSAGE_LIMIT = 8 * 1024 * 1024  # bytes; Salesforce sends 4 MB at most
_PREFIX = "sfdc.platform.eventbus.grpc."

Metadata = tuple[tuple[str, str], ...]


class TokenRefused(Transient):
    """The access token is not, or no longer, accepted."""

    code = "token_refused"


class CursorRefused(Transient):
    """The replay id is too old, or the org has moved: nothing can be resumed from it."""

    code = "cursor_refused"


def trusted_roots(ca_file: Path | None) -> bytes | None:
    """Return the system's certificate authorities and those of a file; `None` for gRPC's own list."""
    if ca_file is None:
        return None
    system = ssl.get_default_verify_paths().cafile
    own = ca_file.read_bytes()
    return own if system is None else Path(system).read_bytes() + b"\n" + own


class PubSub:
    """One connection to the Pub/Sub API, speaking for one user."""

    def __init__(self, endpoint: str, token: ApiToken, *, roots: bytes | None = None) -> None:
        self._metadata: Metadata = (
            ("accesstoken", token.token),
            ("instanceurl", token.instance_url),
            ("tenantid", token.org_id),
        )
        self._channel = grpc.aio.secure_channel(
            endpoint,
            grpc.ssl_channel_credentials(root_certificates=roots),
            options=[
                ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
                ("grpc.enable_retries", 0),
                # As all our outgoing calls: a proxy of the environment is not for what carries a token.
                ("grpc.enable_http_proxy", 0),
            ],
        )
        self._stub: Any = stubs.PubSubStub(self._channel)

    async def __aenter__(self) -> Self:
        """Connect at the first call."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection and what goes over it."""
        await self._channel.close()

    async def topic(self, name: str) -> pb.TopicInfo:
        """Ask what a topic is and whether the user may read it.

        Raises:
            TokenRefused, NeedsAdmin, Transient: See `translated`.
        """
        with translated(name):
            info: pb.TopicInfo = await self._stub.GetTopic(
                pb.TopicRequest(topic_name=name), metadata=self._metadata, timeout=CALL_LIMIT
            )
        return info

    async def schema(self, schema_id: str) -> str:
        """Return the Avro schema with this id, as JSON.

        Raises:
            TokenRefused, NeedsAdmin, Transient: See `translated`.
        """
        with translated(f"schema {schema_id}"):
            info = await self._stub.GetSchema(
                pb.SchemaRequest(schema_id=schema_id), metadata=self._metadata, timeout=CALL_LIMIT
            )
        return str(info.schema_json)

    @asynccontextmanager
    async def subscription(
        self, topic: str, cursor: bytes | None, *, silence: float = LONGEST_SILENCE
    ) -> AsyncIterator["Subscription"]:
        """Subscribe to what comes after the cursor, or from now on.

        Raises:
            TokenRefused, CursorRefused, NeedsAdmin, Transient: See `translated`.
        """
        call = self._stub.Subscribe(metadata=self._metadata)
        subscription = Subscription(call, topic, silence)
        try:
            await subscription.open(cursor)
            yield subscription
        finally:
            call.cancel()
            await subscription.close()


class Subscription:
    """An open stream: take a message, deal with it, ask for more."""

    def __init__(self, call: Any, topic: str, silence: float) -> None:
        self._call = call
        self._topic = topic
        self._silence = silence
        self._outstanding = 0
        self._next: asyncio.Task[Any] | None = None

    async def open(self, cursor: bytes | None) -> None:
        """Send the first request and wait until it is accepted or refused."""
        preset = pb.ReplayPreset.LATEST if cursor is None else pb.ReplayPreset.CUSTOM
        with translated(self._topic):
            await self._call.write(
                pb.FetchRequest(
                    topic_name=self._topic,
                    replay_preset=preset,
                    replay_id=cursor or b"",
                    num_requested=MOST_OUTSTANDING,
                )
            )
        self._outstanding = MOST_OUTSTANDING
        self._next = asyncio.ensure_future(self._call.read())
        headers = asyncio.ensure_future(self._call.initial_metadata())
        try:
            first = (self._next, headers)
            await asyncio.wait(first, timeout=_ACCEPTED_AFTER, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((self._next,), timeout=_SETTLED_AFTER if headers.done() else 0)
        finally:
            headers.cancel()
            await asyncio.gather(headers, return_exceptions=True)
        if self._call.done():
            await self._raise_end()

    async def take(self) -> pb.FetchResponse:
        """Wait for the next message: events, or none as a sign of life.

        Raises:
            Transient: The stream ended, or was silent for too long.
        """
        waiting = self._next or asyncio.ensure_future(self._call.read())
        self._next = None
        try:
            with translated(self._topic):
                async with asyncio.timeout(self._silence):
                    message: pb.FetchResponse = await waiting
        except TimeoutError:
            raise Transient(
                f"no sign of life from Salesforce on {self._topic} for {self._silence:g} s"
            ) from None
        if not isinstance(message, pb.FetchResponse):  # the end of the stream
            await self._raise_end()
        self._outstanding -= len(message.events)
        # Read on while this message is being committed; flow control bounds what can pile up.
        self._next = asyncio.ensure_future(self._call.read())
        return message

    async def more(self) -> None:
        """Ask for as many events as may be outstanding, once half of them have come."""
        if self._outstanding > MOST_OUTSTANDING // 2:
            return
        wanted = MOST_OUTSTANDING - self._outstanding
        with translated(self._topic):
            await self._call.write(pb.FetchRequest(topic_name=self._topic, num_requested=wanted))
        self._outstanding += wanted

    async def close(self) -> None:
        """Let go of what is still being read."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)

    async def _raise_end(self) -> None:
        code, details = await self._call.code(), await self._call.details()
        trailers = await self._call.trailing_metadata()
        raise meaning(code, details or "", _error_code(trailers), self._topic)


class translated:  # noqa: N801 - reads as a statement: `with translated(topic): …`
    """Turn gRPC's errors into ours; see `meaning`."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise what an error of gRPC means."""
        if isinstance(error, grpc.aio.AioRpcError):
            raise meaning(
                error.code(), error.details() or "", _error_code(error.trailing_metadata()), self._what
            ) from None
        if isinstance(error, grpc.aio.UsageError | asyncio.InvalidStateError):
            raise Transient("the stream from Salesforce has ended") from None


def _error_code(trailers: Iterable[Any] | None) -> str:
    """Return the trailer `error-code` without Salesforce's prefix."""
    for key, value in trailers or ():
        if key == "error-code":
            text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
            return text.removeprefix(_PREFIX)
    return ""


_TOKEN = frozenset({"service.auth.error", "service.auth.headers.invalid"})
_CURSOR = ("fetch.replayid.corrupted", "fetch.replayid.validation.failed")
_LIMIT = "subscription.limit.exceeded"
_PERMISSION = ("topic.meta.permission", "schema.meta.permission", "topic.cannot.subscribe", "tenant.license")


def meaning(
    status: grpc.StatusCode, details: str, error_code: str, what: str
) -> TokenRefused | CursorRefused | NeedsAdmin | Transient:
    """Say what an error of the Pub/Sub API means (Pub/Sub API, "Handling Errors").

    The trailer `error-code` decides where there is one; the gRPC status where there is none.
    """
    words = details.strip() or str(status.name)
    if error_code in _TOKEN or (not error_code and status is grpc.StatusCode.UNAUTHENTICATED):
        return TokenRefused(f"Salesforce does not accept the access token for its Pub/Sub API: {words}")
    if error_code.endswith(_CURSOR):
        return CursorRefused(f"Salesforce cannot resume {what} from the stored position: {words}")
    if error_code.endswith("topic.not.found") or (not error_code and status is grpc.StatusCode.NOT_FOUND):
        return NeedsAdmin(f"this Salesforce org has no topic {what}")
    if error_code.endswith(_PERMISSION) or (not error_code and status is grpc.StatusCode.PERMISSION_DENIED):
        return NeedsAdmin(
            f"the user who authorised may not read {what}; in Salesforce, give them View All on the object"
            f" ({words})"
        )
    if error_code.endswith(_LIMIT):
        return Transient(f"the org's event delivery allocation for 24 hours is used up: {words}")
    return Transient(f"the stream of {what} broke: {words}")
