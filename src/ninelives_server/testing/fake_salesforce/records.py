"""The records of the org, and the unit of work that changes them: all of it, or nothing.

Deleted records stay, marked, as in the recycle bin. What a committed unit changed is handed to whoever
makes change events of it; this module knows nothing about events.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ninelives_server.testing.fake_salesforce import derive, sfid, times, values
from ninelives_server.testing.fake_salesforce.faults import RestError
from ninelives_server.testing.fake_salesforce.schema.catalog import Catalog
from ninelives_server.testing.fake_salesforce.schema.fields import Field, SObject

Row = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Change:
    """What one unit did to one record: several writes of the same record are one change.

    Attributes:
        kind: `CREATE`, `UPDATE`, `DELETE` or `UNDELETE`.
        before: The record as it was; empty for a new one.
        fields: Names of the fields whose value is another one now.
    """

    sobject: SObject
    kind: str
    record_id: str
    before: Row
    after: Row
    fields: set[str] = field(default_factory=set)


class Records:
    """Tables of rows, by object and id of 18 characters."""

    def __init__(self, catalog: Catalog, ids: sfid.Sequence) -> None:
        self.catalog = catalog
        self.ids = ids
        self.case_number = 1000
        self._tables: dict[str, dict[str, Row]] = {}

    def table(self, sobject: SObject) -> dict[str, Row]:
        """Return the rows of an object by id, deleted ones included."""
        return self._tables.setdefault(sobject.name, {})

    def rows(self, sobject: SObject, *, deleted: bool = False) -> list[Row]:
        """Return the rows in the order in which they were made; deleted ones if asked for."""
        return [row for row in self.table(sobject).values() if deleted or not row.get("IsDeleted")]

    def find(self, sobject: SObject, record_id: str) -> Row | None:
        """Return a row, also a deleted one."""
        return self.table(sobject).get(record_id)

    def live(self, sobject: SObject, record_id: str) -> Row:
        """Return a row that is not deleted.

        Raises:
            RestError: There is none, or it is deleted.
        """
        row = self.find(sobject, record_id)
        if row is None:
            raise RestError(404, "NOT_FOUND", "The requested resource does not exist")
        if row.get("IsDeleted"):
            raise RestError(404, "ENTITY_IS_DELETED", "entity is deleted", fields=[])
        return row

    def matching(self, sobject: SObject, field_name: str, value: Any) -> list[Row]:
        """Return the rows with this value, as an external id is looked up: letter case does not count."""
        wanted = value.lower() if isinstance(value, str) and field_name != "Id" else value
        return [row for row in self.rows(sobject) if _folded(row.get(field_name), field_name) == wanted]

    def any_row(self, record_id: str) -> tuple[SObject, Row] | None:
        """Return object and row of an id whose object is known by its prefix."""
        sobject = self.catalog.by_prefix(record_id)
        row = self.find(sobject, record_id) if sobject else None
        return (sobject, row) if sobject and row else None


def _folded(value: Any, field_name: str) -> Any:
    return value.lower() if isinstance(value, str) and field_name != "Id" else value


class Unit:
    """One transaction of one user."""

    def __init__(self, records: Records, *, actor: str, now: datetime) -> None:
        self._records = records
        self._actor = actor
        self._now = times.whole_seconds(now)
        self._undo: list[tuple[dict[str, Row], str, Row | None]] = []
        self._changes: dict[str, Change] = {}

    def mark(self) -> tuple[int, dict[str, Change]]:
        """Remember this point, to come back to with `back_to`."""
        copies = {
            key: Change(
                sobject=c.sobject, kind=c.kind, record_id=c.record_id, before=c.before,
                after=c.after, fields=set(c.fields),
            )
            for key, c in self._changes.items()
        }  # fmt: skip
        return len(self._undo), copies

    def back_to(self, mark: tuple[int, dict[str, Change]]) -> None:
        """Undo whatever was done since the mark."""
        depth, changes = mark
        while len(self._undo) > depth:
            table, record_id, row = self._undo.pop()
            if row is None:
                table.pop(record_id, None)
            else:
                table[record_id] = row
        self._changes = changes

    def changes(self) -> list[Change]:
        """Return one change per record, in order of the first write, without those that changed nothing."""
        return [c for c in self._changes.values() if c.kind != "UPDATE" or c.fields]

    def insert(self, sobject: SObject, given: Row) -> str:
        """Make a record and return its id.

        Raises:
            RestError: A field is unknown, missing, not writable or has a value that does not fit.
        """
        if not sobject.creatable:
            raise RestError(400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"cannot create {sobject.name}")
        row = {f.name: f.default for f in sobject.fields if not f.computed}
        row.update(self._checked(sobject, given, creating=True))
        missing = [f.name for f in sobject.fields if f.required and row.get(f.name) is None]
        if missing:
            message = f"Required fields are missing: [{', '.join(missing)}]"
            raise RestError(400, "REQUIRED_FIELD_MISSING", message, fields=missing)
        record_id = self._records.ids.new(sobject.prefix)
        row |= {"Id": record_id, "CreatedDate": self._now, "CreatedById": self._actor}
        if sobject.find("OwnerId") and not row.get("OwnerId"):
            row["OwnerId"] = self._actor
        if sobject.name == "Case":
            self._records.case_number += 1
            row["CaseNumber"] = f"{self._records.case_number:08d}"
        self._check_unique(sobject, record_id, row)
        self._stamp(row)
        self._keep(sobject, record_id, derive.after_write(sobject.name, {}, row, self._now))
        self._note(sobject, "CREATE", record_id, {})
        return record_id

    def update(self, sobject: SObject, record_id: str, given: Row) -> None:
        """Change fields of a record.

        Raises:
            RestError: There is no such record, or the fields are refused as in `insert`.
        """
        before = self._records.live(sobject, record_id)
        changed = self._checked(sobject, given, creating=False)
        emptied = [n for n, v in changed.items() if v is None and _must_stay(sobject, n)]
        if emptied:
            message = f"Required fields are missing: [{', '.join(emptied)}]"
            raise RestError(400, "REQUIRED_FIELD_MISSING", message, fields=emptied)
        row = {**before, **changed}
        self._check_unique(sobject, record_id, row)
        self._stamp(row)
        self._keep(sobject, record_id, derive.after_write(sobject.name, before, row, self._now))
        self._note(sobject, "UPDATE", record_id, before)

    def delete(self, sobject: SObject, record_id: str) -> None:
        """Put a record into the recycle bin.

        Raises:
            RestError: There is no such record, or its object does not allow it.
        """
        before = self._records.live(sobject, record_id)
        if not sobject.deletable:
            raise RestError(400, "INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id")
        self._keep(sobject, record_id, self._stamp({**before, "IsDeleted": True}))
        self._note(sobject, "DELETE", record_id, before)

    def undelete(self, sobject: SObject, record_id: str) -> None:
        """Take a record out of the recycle bin.

        Raises:
            RestError: It is not in there.
        """
        before = self._records.find(sobject, record_id)
        if before is None or not before.get("IsDeleted"):
            raise RestError(400, "UNDELETE_FAILED", "Entity is not in the recycle bin")
        self._keep(sobject, record_id, self._stamp({**before, "IsDeleted": False}))
        self._note(sobject, "UNDELETE", record_id, before)

    def _checked(self, sobject: SObject, given: Row, *, creating: bool) -> Row:
        accepted: Row = {}
        for name, value in given.items():
            if name == "attributes":
                continue
            relation = sobject.relation(name) if isinstance(value, dict) else None
            if relation:
                accepted[relation.name] = self._by_external_id(relation, value)
                continue
            found = values.writable(sobject, name, creating=creating)
            accepted[found.name] = self._existing(found, values.accept(found, value))
        return accepted

    def _existing(self, found: Field, value: Any) -> Any:
        if found.type != "reference" or value is None:
            return value
        known = [o for o in map(self._records.catalog.find, found.reference_to) if o]
        target = next((o for o in known if o.prefix == value[:3]), None)
        if target is None:
            if len(known) == len(found.reference_to):
                message = f"{found.label}: id value of incorrect type: {value}"
                raise RestError(400, "MALFORMED_ID", message, fields=[found.name])
            return value  # it refers to an object that this org does not hold
        row = self._records.find(target, value)
        if row is None:
            raise RestError(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", fields=[])
        if row.get("IsDeleted"):
            raise RestError(400, "ENTITY_IS_DELETED", "entity is deleted", fields=[])
        return value

    def _by_external_id(self, relation: Field, given: dict[str, Any]) -> str:
        wanted = {k: v for k, v in given.items() if k != "attributes"}
        for target in filter(None, map(self._records.catalog.find, relation.reference_to)):
            for name, value in wanted.items():
                found = self._records.matching(target, name, value) if target.find(name) else []
                if len(found) == 1:
                    return str(found[0]["Id"])
        name = next(iter(wanted), "")
        message = f"Foreign key external ID: {wanted.get(name)} not found for field {name}"
        raise RestError(400, "INVALID_FIELD", f"{message} in entity {relation.reference_to[0]}", fields=[])

    def _check_unique(self, sobject: SObject, record_id: str, row: Row) -> None:
        for found in (f for f in sobject.fields if f.unique and row.get(f.name) is not None):
            others = [r for r in self._records.matching(sobject, found.name, row[found.name])
                      if r["Id"] != record_id]  # fmt: skip
            if others:
                message = (
                    f"duplicate value found: {found.name} duplicates value on record with id: "
                    f"{others[0]['Id']}"
                )
                raise RestError(400, "DUPLICATE_VALUE", message, fields=[])

    def _stamp(self, row: Row) -> Row:
        row["LastModifiedDate"] = row["SystemModstamp"] = self._now
        row["LastModifiedById"] = self._actor
        return row

    def _keep(self, sobject: SObject, record_id: str, row: Row) -> None:
        table = self._records.table(sobject)
        self._undo.append((table, record_id, table.get(record_id)))
        table[record_id] = row

    def _note(self, sobject: SObject, kind: str, record_id: str, before: Row) -> None:
        after = self._records.table(sobject)[record_id]
        known = self._changes.get(record_id)
        if known is None:
            known = Change(sobject=sobject, kind=kind, record_id=record_id, before=before, after=after)
            self._changes[record_id] = known
        elif known.kind == "CREATE" and kind == "DELETE":
            del self._changes[record_id]  # made and deleted in one transaction: nothing happened
            return
        elif kind != "UPDATE":
            known.kind = kind
        known.after = after
        known.fields = _different(sobject.fields, known.before, after)


def _must_stay(sobject: SObject, name: str) -> bool:
    found = sobject.find(name)
    return found is not None and found.required


def _different(fields: Iterable[Field], before: Row, after: Row) -> set[str]:
    stamps = {"LastModifiedDate", "LastModifiedById", "SystemModstamp", "IsDeleted"}
    return {
        f.name for f in fields if f.name not in stamps and before.get(f.name) != after.get(f.name)
    }  # fmt: skip
