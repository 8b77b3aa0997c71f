"""What a field and an object are, and short constructors for the kinds of field that Salesforce has."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

#: SOAP types by field type, for describe.
SOAP_TYPES = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "address": "urn:address",
}
NUMBERS = {"int", "double", "currency", "percent"}

#: The parts of an address: component in a change event, suffix in REST, type.
ADDRESS_PARTS = (
    ("Street", "Street", "textarea", 255),
    ("City", "City", "string", 40),
    ("State", "State", "string", 80),
    ("PostalCode", "PostalCode", "string", 20),
    ("Country", "Country", "string", 80),
    ("Latitude", "Latitude", "double", 0),
    ("Longitude", "Longitude", "double", 0),
    ("GeocodeAccuracy", "GeocodeAccuracy", "picklist", 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of an object.

    Attributes:
        doc: What the Avro schema of change events says about it, such as `Data:DynamicEnum`.
        required: Must be given, and not null, when a record is made.
        compound: The compound field that it is a part of, such as `BillingAddress`.
        part: Its name inside that compound field, such as `Street`.
        event: Whether change events carry it.
        computed: The org makes the value; it is not stored.
        default: What a new record gets; `None` is no default.
        relationship: The name in queries, such as `Owner` for `OwnerId`.
    """

    name: str
    type: str
    label: str
    doc: str = "Data:Text"
    length: int = 0
    precision: int = 0
    scale: int = 0
    required: bool = False
    creatable: bool = True
    updateable: bool = True
    picklist: tuple[str, ...] = ()
    restricted: bool = False
    reference_to: tuple[str, ...] = ()
    relationship: str | None = None
    compound: str | None = None
    part: str | None = None
    event: bool = True
    computed: bool = False
    default: Any = None
    external_id: bool = False
    unique: bool = False

    @property
    def custom(self) -> bool:
        """Say whether somebody in the org added it."""
        return self.name.endswith("__c")

    @property
    def nillable(self) -> bool:
        """Say whether the field may be empty."""
        return not self.required and self.type not in {"boolean", "id"}


@dataclass(slots=True, kw_only=True)
class SObject:
    """One object of the org, standard, custom or platform event.

    Attributes:
        prefix: The first three characters of its ids.
        fields: In the order of the describe call, which is the order of the change event's schema too.
        event_type: It is a platform event: published, not stored.
        version: Grows with each change of the fields; the Avro schema is made anew.
    """

    name: str
    label: str
    plural: str
    prefix: str
    fields: tuple[Field, ...]
    event_type: bool = False
    change_events: bool = True
    creatable: bool = True
    deletable: bool = True
    children: tuple[tuple[str, str, str], ...] = ()
    version: int = 0
    _index: dict[str, Field] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._index = {f.name.lower(): f for f in self.fields}

    @property
    def custom(self) -> bool:
        """Say whether somebody in the org made it."""
        return self.name.endswith(("__c", "__e"))

    def find(self, name: str) -> Field | None:
        """Return the field of this name, whatever its letter case."""
        return self._index.get(name.lower())

    def relation(self, name: str) -> Field | None:
        """Return the reference field behind a relationship such as `Owner`."""
        wanted = name.lower()
        return next((f for f in self.fields if (f.relationship or "").lower() == wanted), None)

    def add(self, new: Field) -> None:
        """Add a field at the end, as Setup does; the event schema changes with it."""
        self.fields = (*(f for f in self.fields if f.name != new.name), new)
        self._index[new.name.lower()] = new
        self.version += 1

    @property
    def change_event(self) -> str:
        """Return the name of its change event, such as `LeadChangeEvent` or `Job__ChangeEvent`."""
        return f"{self.name.removesuffix('c')}ChangeEvent" if self.custom else f"{self.name}ChangeEvent"


def text(name: str, label: str, length: int = 255, **more: Any) -> Field:
    """Return a text field."""
    return Field(name=name, type="string", label=label, length=length, **more)


def long_text(name: str, label: str, length: int = 32000) -> Field:
    """Return a long text area."""
    return Field(name=name, type="textarea", label=label, length=length, doc="Data:StringPlusClob")


def picklist(name: str, label: str, values: Iterable[str], **more: Any) -> Field:
    """Return a picklist that accepts other values too, as standard ones do."""
    chosen = {"length": 255, "doc": "Data:DynamicEnum", **more}
    return Field(name=name, type="picklist", label=label, picklist=tuple(values), **chosen)


def phone(name: str, label: str) -> Field:
    """Return a phone field."""
    return Field(name=name, type="phone", label=label, length=40, doc="Data:Phone")


def email(name: str, label: str, length: int = 80, **more: Any) -> Field:
    """Return an email field."""
    return Field(name=name, type="email", label=label, length=length, doc="Data:Email", **more)


def url(name: str, label: str) -> Field:
    """Return a URL field."""
    return Field(name=name, type="url", label=label, length=255, doc="Data:Url")


def boolean(name: str, label: str, **more: Any) -> Field:
    """Return a checkbox; it is never empty."""
    chosen = {"default": False, "doc": "Data:Boolean", **more}
    return Field(name=name, type="boolean", label=label, **chosen)


def integer(name: str, label: str, **more: Any) -> Field:
    """Return a whole number."""
    return Field(name=name, type="int", label=label, precision=8, doc="Data:Integer", **more)


def number(name: str, label: str, precision: int = 18, scale: int = 0, **more: Any) -> Field:
    """Return a number with decimal places."""
    return Field(
        name=name,
        type="double",
        label=label,
        **{"precision": precision, "scale": scale, "doc": "Data:Double", **more},
    )


def currency(name: str, label: str, scale: int = 0, **more: Any) -> Field:
    """Return an amount of money."""
    return replace(number(name, label, 18, scale, doc="Data:Currency", **more), type="currency")


def percent(name: str, label: str, precision: int = 3) -> Field:
    """Return a percentage."""
    return replace(number(name, label, precision, 0, doc="Data:Percent"), type="percent")


def day(name: str, label: str, **more: Any) -> Field:
    """Return a date."""
    return Field(name=name, type="date", label=label, doc="Data:DateOnly", **more)


def moment(name: str, label: str, **more: Any) -> Field:
    """Return a date with time."""
    return Field(name=name, type="datetime", label=label, **{"doc": "Data:DateTime", **more})


def reference(name: str, label: str, to: str | tuple[str, ...], **more: Any) -> Field:
    """Return a lookup; the relationship's name is the field's without `Id`."""
    return Field(
        name=name,
        type="reference",
        label=label,
        length=18,
        reference_to=(to,) if isinstance(to, str) else to,
        **{"relationship": name.removesuffix("Id"), "doc": "ForeignKey:EntityId", **more},
    )


def address(prefix: str, label: str) -> tuple[Field, ...]:
    """Return the parts of an address and the compound field `…Address` over them."""
    compound = f"{prefix}Address"
    parts = [
        Field(
            name=f"{prefix}{suffix}", type=kind, label=f"{label} {suffix}".strip(), length=length,
            precision=18 if kind == "double" else 0, scale=15 if kind == "double" else 0,
            compound=compound, part=part,
        )
        for part, suffix, kind, length in ADDRESS_PARTS
    ]  # fmt: skip
    whole = Field(
        name=compound, type="address", label=f"{label} Address".strip(), doc="Data:Address",
        creatable=False, updateable=False, computed=True,
    )  # fmt: skip
    return (*parts, whole)


def person_name(*, last_required: bool = True) -> tuple[Field, ...]:
    """Return the parts of a person's name and the compound field `Name` over them."""
    return (
        text("LastName", "Last Name", 80, required=last_required, compound="Name", part="LastName"),
        text("FirstName", "First Name", 40, compound="Name", part="FirstName"),
        picklist(
            "Salutation", "Salutation", ("Mr.", "Ms.", "Mrs.", "Dr.", "Prof.", "Mx."),
            length=40, compound="Name", part="Salutation",
        ),
        text(
            "Name", "Full Name", 121, doc="Data:PersonName",
            creatable=False, updateable=False, computed=True,
        ),
    )  # fmt: skip


def head() -> tuple[Field, ...]:
    """Return the fields that every record begins with; change events carry none of them."""
    fixed: dict[str, Any] = {"creatable": False, "updateable": False, "event": False}
    return (
        Field(name="Id", type="id", label="Record ID", length=18, **fixed),
        boolean("IsDeleted", "Deleted", **fixed),
    )


def stamps() -> tuple[Field, ...]:
    """Return who made and changed the record, and when; the org keeps them."""
    fixed: dict[str, Any] = {"creatable": False, "updateable": False}
    return (
        moment("CreatedDate", "Created Date", doc="CreatedDate:DateTime", **fixed),
        reference("CreatedById", "Created By ID", "User", **fixed),
        moment("LastModifiedDate", "Last Modified Date", **fixed),
        reference("LastModifiedById", "Last Modified By ID", "User", **fixed),
        moment("SystemModstamp", "System Modstamp", event=False, **fixed),
    )


def owner(*to: str) -> Field:
    """Return `OwnerId`; a new record belongs to whoever makes it."""
    return reference("OwnerId", "Owner ID", to or ("User",))


def hidden(original: Field) -> Field:
    """Return the field as one that the org keeps, that nobody writes and no change event carries."""
    return replace(original, creatable=False, updateable=False, event=False)
