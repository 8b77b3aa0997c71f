"""One Subscribe call: flow control, replay, delivery, keepalives, and the ways in which it ends."""

import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc

from ninelives_server.providers.salesforce.pb import pubsub_api_pb2 as pb
from ninelives_server.testing.fake_salesforce.events.log import Event, to_bytes
from ninelives_server.testing.fake_salesforce.events.streams import Stream
from ninelives_server.testing.fake_salesforce.grants import AccessToken
from ninelives_server.testing.fake_salesforce.org import Org
from ninelives_server.testing.fake_salesforce.pubsub import access
from ninelives_server.testing.fake_salesforce.pubsub.refusals import Refused, auth_error, refused

_POLL = 0.5  # seconds between looks at what nobody announces: cancelled calls, tokens that time out


class Subscription:
    """A second thread reads the requests, the caller's thread delivers."""

    def __init__(
        self,
        org: Org,
        requests: Any,
        context: grpc.ServicerContext,
        *,
        rpc_id: str,
        stopping: threading.Event,
    ) -> None:
        self._org = org
        self._requests = requests
        self._context = context
        self._rpc_id = rpc_id
        self._stopping = stopping
        self._problem: Refused | None = None
        self._half_closed = False
        self._open = True
        self._sent_at = self._busy_at = time.monotonic()

    def run(self) -> Iterator[Any]:
        """Yield responses until the call ends.

        Raises:
            Refused: It ends with an error.
        """
        session = access.authenticate(self._org, self._context)
        first = next(self._requests, None)
        if first is None:
            return
        stream = self._begin(session, first)
        self._context.add_callback(self._ended)
        if self._org.behaviour.early_headers:
            self._context.send_initial_metadata(())
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()
        try:
            yield from self._deliver(stream)
        finally:
            self._open = False
            self._org.streams.close(stream)
            self._org.bus.log.wake()

    # -- requests -----------------------------------------------------------------------------

    def _begin(self, session: AccessToken, first: Any) -> Stream:
        access.topic_object(self._org, first.topic_name)
        stream = self._org.streams.open(
            topic=first.topic_name, access_token=session.value, user_id=session.user_id,
            position=self._start(first),
        )  # fmt: skip
        try:
            self._add(stream, first)
        except Refused:
            self._org.streams.close(stream)
            raise
        self._org.bus.log.wake()  # somebody may wait for the stream to open
        return stream

    def _start(self, first: Any) -> int:
        """Return the replay id behind which delivery begins."""
        log = self._org.bus.log
        if first.replay_preset == pb.ReplayPreset.EARLIEST:
            return log.earliest()
        if first.replay_preset == pb.ReplayPreset.LATEST:
            return log.last
        if not first.replay_id:
            details = "The replay ID is missing. Provide one with the CUSTOM preset."
            raise refused("INVALID_ARGUMENT", "subscription.fetch.replayid.validation.failed", details)
        replay = struct.unpack(">Q", first.replay_id)[0] if len(first.replay_id) == 8 else -1
        if not log.knows(replay):
            details = (
                "The Replay ID validation failed. Ensure that the Replay ID is valid and within the "
                "retention window."
            )
            raise refused("INVALID_ARGUMENT", "subscription.fetch.replayid.corrupted", details)
        return int(replay)

    def _add(self, stream: Stream, request: Any) -> None:
        if request.topic_name not in {"", stream.topic}:
            details = "The topic name must be the same in all requests of a stream."
            raise refused("INVALID_ARGUMENT", "subscription.fetch.topic.mismatch", details)
        if request.num_requested <= 0:
            details = "The number of requested events must be greater than zero."
            code = "subscription.fetch.requested.events.invalid"
            raise refused("INVALID_ARGUMENT", code, details)
        limit = self._org.behaviour.max_outstanding
        with self._org.bus.log.changed:
            stream.outstanding = min(limit, stream.outstanding + request.num_requested)

    def _read(self, stream: Stream) -> None:
        try:
            for request in self._requests:
                self._add(stream, request)
                self._org.bus.log.wake()
        except Refused as problem:
            self._problem = problem
        except grpc.RpcError:
            self._open = False  # the client went away
        self._half_closed = True
        self._org.bus.log.wake()

    def _ended(self) -> None:
        self._open = False
        self._org.bus.log.wake()

    # -- delivery -----------------------------------------------------------------------------

    def _deliver(self, stream: Stream) -> Iterator[Any]:
        while True:
            events = self._wait(stream)
            if not self._alive() or self._is_idle(stream):
                return
            self._check(stream)
            if events:
                yield self._events(stream, events)
            elif stream.outstanding and time.monotonic() - self._sent_at >= self._keepalive:
                yield self._keep_alive(stream)

    @property
    def _keepalive(self) -> float:
        return self._org.behaviour.keepalive_seconds

    def _wait(self, stream: Stream) -> list[Event]:
        """Wait a little for something to do, and return the events that may be delivered."""
        log = self._org.bus.log
        found: list[Event] = []

        def something() -> bool:
            if stream.outstanding:
                found[:] = log.read(stream.topic, stream.position, stream.outstanding)
            return bool(found) or stream.ordered is not None or self._problem is not None or not self._alive()

        left = self._keepalive - (time.monotonic() - self._sent_at)
        log.wait(something, min(_POLL, max(0.01, left)) if stream.outstanding else _POLL)
        return found

    def _alive(self) -> bool:
        return self._open and self._context.is_active() and not self._stopping.is_set()

    def _is_idle(self, stream: Stream) -> bool:
        """Say whether nothing is asked for, and has not been for too long, or never will be again."""
        now = time.monotonic()
        if stream.outstanding:
            self._busy_at = now
            return False
        limit = self._org.behaviour.idle_stream_seconds
        return (self._half_closed and self._problem is None) or (limit > 0 and now - self._busy_at >= limit)

    def _check(self, stream: Stream) -> None:
        """End the stream where somebody ordered it, or where its token does not allow it any more."""
        if self._problem:
            raise self._problem
        if stream.ordered:
            raise Refused(stream.ordered)
        org = self._org
        with org.lock:
            token = org.ledger.tokens[stream.access_token]
            revoked = token.revoked or not org.user(token.user_id)["IsActive"]
            timed_out = not revoked and not org.ledger.works(token, org.clock.now(), org.behaviour)
        ends = revoked and org.behaviour.revocation_ends_streams
        if ends or (timed_out and org.behaviour.expiry_ends_streams):
            raise auth_error()

    def _events(self, stream: Stream, events: list[Event]) -> Any:
        with self._org.bus.log.changed:
            stream.outstanding -= len(events)
            stream.delivered += len(events)
            stream.position = events[-1].replay
        shown = [
            pb.ConsumerEvent(
                event=pb.ProducerEvent(id=e.event_id, schema_id=e.schema_id, payload=e.payload),
                replay_id=e.replay_id,
            )
            for e in events
        ]
        return self._response(stream, shown)

    def _keep_alive(self, stream: Stream) -> Any:
        log = self._org.bus.log
        with log.changed:
            stream.keepalives += 1
            if not log.read(stream.topic, stream.position, 1):
                stream.position = max(stream.position, log.last)  # a reader may resume there
        return self._response(stream, [])

    def _response(self, stream: Stream, events: list[Any]) -> Any:
        self._sent_at = time.monotonic()
        return pb.FetchResponse(
            events=events, latest_replay_id=to_bytes(stream.position), rpc_id=self._rpc_id,
            pending_num_requested=stream.outstanding,
        )  # fmt: skip
