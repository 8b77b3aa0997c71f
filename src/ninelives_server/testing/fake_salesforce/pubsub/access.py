"""Who calls, and which topic is meant: the checks that every call of the Pub/Sub API begins with."""

import grpc

from ninelives_server.testing.fake_salesforce import sfid
from ninelives_server.testing.fake_salesforce.events.bus import ALL_CHANGES
from ninelives_server.testing.fake_salesforce.grants import AccessToken
from ninelives_server.testing.fake_salesforce.org import Org
from ninelives_server.testing.fake_salesforce.pubsub.refusals import auth_error, refused
from ninelives_server.testing.fake_salesforce.schema.fields import SObject


def authenticate(org: Org, context: grpc.ServicerContext) -> AccessToken:
    """Return the session behind the metadata of a call.

    Raises:
        Refused: The metadata is missing, or does not name a session of this org.
    """
    given = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
    names = ("accesstoken", "instanceurl", "tenantid")
    token, instance, tenant = (given.get(name, "").strip() for name in names)
    if not (token and instance and tenant):
        details = "Provide the metadata headers accesstoken, instanceurl and tenantid."
        raise refused("UNAUTHENTICATED", "service.auth.headers.invalid", details)
    with org.lock:
        session = org.session(token)
        long_enough = len(tenant) == 18 or org.behaviour.accept_short_tenant_id
        is_tenant = sfid.normalise(tenant) == org.org_id and long_enough
        is_instance = org.addresses.is_mine(instance) or not org.behaviour.check_instance_url
    if session is None or not is_tenant or not is_instance:
        raise auth_error()
    return session


def topic_object(org: Org, name: str) -> SObject | None:
    """Return the object of a topic; `None` is the topic of all changes.

    Raises:
        Refused: There is no such topic.
    """
    if not name:
        raise refused("INVALID_ARGUMENT", "topic.validation.empty", "The topic name is empty.")
    with org.lock:
        found = org.bus.topic_object(name)
        unselected = found and not found.event_type and found.name not in org.bus.selected
        hidden = unselected and org.behaviour.unselected_topic == "not_found"
    if name != ALL_CHANGES and (found is None or hidden):
        details = f"Topic not found: {name}. Check that the topic exists and that you have access to it."
        raise refused("NOT_FOUND", "topic.not.found", details)
    return found


def topic_schema(org: Org, sobject: SObject | None) -> str:
    """Return the schema id that GetTopic and Publish name."""
    with org.lock:
        if sobject is None:
            return org.behaviour.multi_entity_schema_id
        return org.bus.schema_of(sobject).schema_id
