"""The Tooling API, as far as Change Data Capture needs it: which entities are selected, and selecting them.

`SELECT SelectedEntity FROM PlatformEventChannelMember WHERE EventChannel = 'ChangeEvents'` names the change
events of the selected entities. A member is made with `POST …/tooling/sobjects/PlatformEventChannelMember`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ninelives_server.testing.fake_salesforce import sfid
from ninelives_server.testing.fake_salesforce.faults import RestError, not_found
from ninelives_server.testing.fake_salesforce.org import Org
from ninelives_server.testing.fake_salesforce.records import Row
from ninelives_server.testing.fake_salesforce.rest import query
from ninelives_server.testing.fake_salesforce.rest.request import Answer, Request
from ninelives_server.testing.fake_salesforce.schema.fields import Field, SObject, boolean, head, text

_MEMBER = "PlatformEventChannelMember"


def _objects() -> dict[str, SObject]:
    member = SObject(
        name=_MEMBER, label="Platform Event Channel Member", plural="Platform Event Channel Members",
        prefix=sfid.CHANNEL_MEMBER_PREFIX,
        fields=(
            head()[0], text("DeveloperName", "Name"), text("MasterLabel", "Label"),
            text("NamespacePrefix", "Namespace Prefix"), text("EventChannel", "Event Channel"),
            text("SelectedEntity", "Selected Entity"), text("FullName", "Full Name"),
        ),
    )  # fmt: skip
    entity = SObject(
        name="EntityDefinition", label="Entity Definition", plural="Entity Definitions", prefix="000",
        fields=(
            head()[0], text("DurableId", "Durable ID"), text("QualifiedApiName", "API Name"),
            text("DeveloperName", "Name"), text("Label", "Label"), text("MasterLabel", "Label"),
            text("PluralLabel", "Plural Label"), text("KeyPrefix", "Key Prefix"),
            boolean("IsQueryable", "Queryable"), boolean("IsCustomizable", "Customizable"),
        ),
    )  # fmt: skip
    managed = SObject(
        name="ManagedEventSubscription", label="Managed Event Subscription",
        plural="Managed Event Subscriptions", prefix="18x",
        fields=(head()[0], text("DeveloperName", "Name"), Field(name="Metadata", type="string", label="M")),
    )  # fmt: skip
    return {o.name.lower(): o for o in (member, entity, managed)}


class _Setup:
    """What the Tooling API shows of the org's setup, as the engine reads it."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._known = _objects()

    def find(self, name: str) -> SObject | None:
        return self._known.get(name.lower())

    def rows(self, sobject: SObject, *, deleted: bool) -> Iterable[Row]:
        del deleted
        if sobject.name == _MEMBER:
            return self._org.channel_members()
        return (
            [self._entity(o) for o in self._org.catalog.all()] if sobject.name == "EntityDefinition" else []
        )

    def any_row(self, record_id: str) -> tuple[SObject, Row] | None:
        del record_id
        return None

    def _entity(self, sobject: SObject) -> Row:
        return {
            "Id": "000000000000000AAA", "DurableId": sobject.name, "QualifiedApiName": sobject.name,
            "DeveloperName": sobject.name.removesuffix("__c"), "Label": sobject.label,
            "MasterLabel": sobject.label, "PluralLabel": sobject.plural, "KeyPrefix": sobject.prefix,
            "IsQueryable": not sobject.event_type, "IsCustomizable": True,
        }  # fmt: skip


def run_query(request: Request, _parts: Mapping[str, str]) -> Answer:
    """Run a Tooling query."""
    answer = query.answer(request, _Setup(request.org), "tooling/query", deleted=False)
    document: dict[str, Any] = answer.body
    document["size"] = len(document["records"])
    document["entityTypeName"] = document["records"][0]["attributes"]["type"] if document["records"] else None
    document["queryLocator"] = None
    return answer


def _metadata(member: Row) -> dict[str, Any]:
    return {
        "enrichedFields": [], "eventChannel": member["EventChannel"], "filterExpression": None,
        "selectedEntity": member["SelectedEntity"], "urls": None,
    }  # fmt: skip


def read_member(request: Request, parts: Mapping[str, str]) -> Answer:
    """Return one member of the channel."""
    member = _member(request.org, parts["id"])
    url = f"{request.base}/tooling/sobjects/{_MEMBER}/{member['Id']}"
    return Answer(body={"attributes": {"type": _MEMBER, "url": url}, **member, "Metadata": _metadata(member)})


def create_member(request: Request, _parts: Mapping[str, str]) -> Answer:
    """Select an entity for Change Data Capture."""
    given = request.record()
    metadata = given.get("Metadata") or {}
    name, channel = str(metadata.get("selectedEntity", "")), metadata.get("eventChannel", "ChangeEvents")
    sobject = request.org.catalog.by_change_event(name)
    if channel != "ChangeEvents" or sobject is None:
        message = f"Entity {name} isn't available for channel {channel}"
        raise RestError(400, "INVALID_INPUT", message, fields=[])
    if sobject.name in request.org.bus.selected:
        message = f"The selected entity, {name}, is already a member of the channel"
        raise RestError(400, "DUPLICATE_VALUE", message, fields=[])
    request.org.select_entities([*request.org.bus.selected, sobject.name])
    member_id = request.org.members[sobject.name]
    return Answer(
        status=201, body={"id": member_id, "success": True, "errors": [], "warnings": [], "infos": []}
    )


def delete_member(request: Request, parts: Mapping[str, str]) -> Answer:
    """Take an entity out of Change Data Capture."""
    member = _member(request.org, parts["id"])
    entity = request.org.catalog.by_change_event(str(member["SelectedEntity"]))
    request.org.select_entities([n for n in request.org.bus.selected if entity and n != entity.name])
    return Answer(status=204)


def _member(org: Org, record_id: str) -> Row:
    wanted = sfid.normalise(record_id)
    found = next((m for m in org.channel_members() if m["Id"] == wanted), None)
    if found is None:
        raise not_found()
    return found
