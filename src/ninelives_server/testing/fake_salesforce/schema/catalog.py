"""All objects of one org, found by name; custom fields, objects and platform events are added here."""

from ninelives_server.testing.fake_salesforce.schema import sales, service
from ninelives_server.testing.fake_salesforce.schema.fields import (
    Field,
    SObject,
    head,
    moment,
    owner,
    reference,
    stamps,
    text,
)


class Catalog:
    """The objects that one org knows."""

    def __init__(self) -> None:
        makers = (
            sales.account, sales.campaign, service.case, sales.contact, sales.lead,
            sales.opportunity, service.organization, service.task, service.user,
        )  # fmt: skip
        self._objects = {made.name.lower(): made for made in (make() for make in makers)}
        self._custom = 0

    def find(self, name: str) -> SObject | None:
        """Return the object of this name, whatever its letter case."""
        return self._objects.get(name.lower())

    def by_prefix(self, record_id: str) -> SObject | None:
        """Return the object whose ids begin as this id does."""
        return next((o for o in self._objects.values() if o.prefix == record_id[:3]), None)

    def all(self) -> list[SObject]:
        """Return every object, by name."""
        return [self._objects[name] for name in sorted(self._objects)]

    def trackable(self) -> list[SObject]:
        """Return what Change Data Capture can be switched on for."""
        return [o for o in self.all() if o.change_events and not o.event_type]

    def by_change_event(self, name: str) -> SObject | None:
        """Return the object whose change event has exactly this name."""
        return next((o for o in self.trackable() if o.change_event == name), None)

    def add_object(self, name: str, label: str, fields: tuple[Field, ...]) -> SObject:
        """Add a custom object (`…__c`)."""
        made = SObject(
            name=name, label=label, plural=f"{label}s", prefix=self._next_prefix("a"),
            fields=(*head(), owner("Group", "User"), text("Name", f"{label} Name", 80), *stamps(), *fields),
        )  # fmt: skip
        self._objects[name.lower()] = made
        return made

    def add_event(self, name: str, label: str, fields: tuple[Field, ...]) -> SObject:
        """Add a platform event (`…__e`)."""
        made = SObject(
            name=name, label=label, plural=label, prefix=self._next_prefix("e"), event_type=True,
            change_events=False, deletable=False,
            fields=(
                moment("CreatedDate", "Created Date", doc="CreatedDate:DateTime", creatable=False),
                reference("CreatedById", "Created By ID", "User", creatable=False),
                *fields,
            ),
        )  # fmt: skip
        self._objects[name.lower()] = made
        return made

    def _next_prefix(self, kind: str) -> str:
        self._custom += 1
        return f"{kind}{self._custom:02d}"
