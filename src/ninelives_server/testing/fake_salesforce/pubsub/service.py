"""The calls of the Pub/Sub API: GetTopic, GetSchema, Subscribe, Publish and PublishStream."""

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import grpc

from ninelives_server.providers.salesforce.pb import pubsub_api_pb2 as pb
from ninelives_server.testing.fake_salesforce.org import Org
from ninelives_server.testing.fake_salesforce.pubsub import access
from ninelives_server.testing.fake_salesforce.pubsub.refusals import Refused, abort, refused
from ninelives_server.testing.fake_salesforce.pubsub.subscription import Subscription
from ninelives_server.testing.fake_salesforce.schema.fields import SObject

_NAME = "eventbus.v1.PubSub"


class PubSub:
    """The service of one org."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self.stopping = threading.Event()

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the calls under the names that the protocol gives them; any other is unimplemented."""
        one, both = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        calls: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "GetTopic": one(self.topic, pb.TopicRequest.FromString, pb.TopicInfo.SerializeToString),
            "GetSchema": one(self.schema, pb.SchemaRequest.FromString, pb.SchemaInfo.SerializeToString),
            "Publish": one(self.publish, pb.PublishRequest.FromString, pb.PublishResponse.SerializeToString),
            "PublishStream": both(
                self.publish_stream, pb.PublishRequest.FromString, pb.PublishResponse.SerializeToString
            ),
            "Subscribe": both(self.subscribe, pb.FetchRequest.FromString, pb.FetchResponse.SerializeToString),
        }
        return grpc.method_handlers_generic_handler(_NAME, calls)

    def topic(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Say what may be done with a topic."""
        rpc_id = str(uuid.uuid4())
        try:
            access.authenticate(self._org, context)
            sobject = access.topic_object(self._org, request.topic_name)
            schema_id = access.topic_schema(self._org, sobject)
        except Refused as problem:
            abort(context, problem.ending, rpc_id)
        return pb.TopicInfo(
            topic_name=request.topic_name, tenant_guid=f"core/prod/{self._org.org_id}",
            can_publish=sobject is not None and sobject.event_type, can_subscribe=True,
            schema_id=schema_id, rpc_id=rpc_id,
        )  # fmt: skip

    def schema(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Return an Avro schema."""
        rpc_id = str(uuid.uuid4())
        try:
            access.authenticate(self._org, context)
        except Refused as problem:
            abort(context, problem.ending, rpc_id)
        with self._org.lock:
            found = self._org.bus.schema(request.schema_id)
        if found is None:
            details = f"Schema not found for schema ID: {request.schema_id}."
            missing = refused("INVALID_ARGUMENT", "schema.validation.failed", details)
            abort(context, missing.ending, rpc_id)
        return pb.SchemaInfo(schema_json=found.json, schema_id=found.schema_id, rpc_id=rpc_id)

    def publish(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Publish platform events."""
        rpc_id = str(uuid.uuid4())
        try:
            access.authenticate(self._org, context)
            return self._published(request, request.topic_name, rpc_id)
        except Refused as problem:
            abort(context, problem.ending, rpc_id)

    def publish_stream(self, requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Publish platform events as they come."""
        rpc_id = str(uuid.uuid4())
        topic = ""
        try:
            for request in requests:
                access.authenticate(self._org, context)
                topic = _same_topic(topic, request.topic_name)
                yield self._published(request, topic, rpc_id)
        except Refused as problem:
            abort(context, problem.ending, rpc_id)

    def subscribe(self, requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Deliver events of a topic as they are asked for."""
        rpc_id = str(uuid.uuid4())
        subscription = Subscription(self._org, requests, context, rpc_id=rpc_id, stopping=self.stopping)
        try:
            yield from subscription.run()
        except Refused as problem:
            abort(context, problem.ending, rpc_id)

    def _published(self, request: Any, topic: str, rpc_id: str) -> Any:
        sobject = access.topic_object(self._org, topic)
        if sobject is None or not sobject.event_type:
            raise refused("PERMISSION_DENIED", "topic.meta.permission", f"You cannot publish to {topic}.")
        if not request.events:
            raise refused("INVALID_ARGUMENT", "publish.event.count.invalid", "There is no event to publish.")
        results = [self._publish_one(sobject, event) for event in request.events]
        schema_id = access.topic_schema(self._org, sobject)
        return pb.PublishResponse(results=results, schema_id=schema_id, rpc_id=rpc_id)

    def _publish_one(self, sobject: SObject, event: Any) -> Any:
        with self._org.lock:
            schema = self._org.bus.schema(event.schema_id)
            if schema is None or schema.name != sobject.name:
                return _failed(event, f"schema {event.schema_id} is not of {sobject.name}")
            try:
                datum = schema.decode(event.payload)
            except ValueError as error:
                return _failed(event, str(error))
            made = self._org.bus.publish(sobject, datum, self._org.clock.now())
        return pb.PublishResult(replay_id=made.replay_id, correlation_key=event.id)


def _same_topic(topic: str, named: str) -> str:
    if topic and named not in {"", topic}:
        raise refused("INVALID_ARGUMENT", "publish.topic.mismatch", "The topic must stay the same.")
    return topic or named


def _failed(event: Any, message: str) -> Any:
    problem = pb.Error(code=pb.ErrorCode.PUBLISH, msg=message)
    return pb.PublishResult(error=problem, correlation_key=event.id)
