"""Runs a parsed query over rows and shapes the records as REST returns them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from ninelives_server.testing.fake_salesforce import derive, values
from ninelives_server.testing.fake_salesforce.faults import RestError
from ninelives_server.testing.fake_salesforce.schema.fields import Field, SObject
from ninelives_server.testing.fake_salesforce.soql import compare, tokens
from ninelives_server.testing.fake_salesforce.soql.syntax import (
    Aggregate,
    AllFields,
    Both,
    Comparison,
    Condition,
    Either,
    Item,
    Negation,
    Order,
    Path,
    Query,
)

Row = dict[str, Any]
_HINT = (
    "If you are attempting to use a custom {what}, be sure to append the '{suffix}' after the {name}. "
    "Please reference your WSDL or the describe call for the appropriate names."
)


class Source(Protocol):
    """Where the engine finds objects and rows."""

    def find(self, name: str) -> SObject | None:
        """Return the object of this name."""
        ...

    def rows(self, sobject: SObject, *, deleted: bool) -> Iterable[Row]:
        """Return the rows of an object."""
        ...

    def any_row(self, record_id: str) -> tuple[SObject, Row] | None:
        """Return object and row of an id."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a run needs beside the query: its text for error messages, today's date, the path of records."""

    source: Source
    soql: str
    today: date
    base: str
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The records, shaped, and how many there are in all; `COUNT()` has a number and no records."""

    total: int
    records: list[Row]


def run(query: Query, context: Context) -> Result:
    """Run a query.

    Raises:
        RestError: It names an object, a field or a relationship that there is not.
    """
    return _Run(query, context).result()


class _Run:
    def __init__(self, query: Query, context: Context) -> None:
        self._query = query
        self._context = context
        found = context.source.find(query.from_name)
        if found is None:
            message = f"sObject type '{query.from_name}' is not supported. " + _HINT.format(
                what="object", suffix="__c", name="entity name"
            )
            raise RestError(400, "INVALID_TYPE", tokens.pointed(context.soql, query.from_at, message))
        self._sobject = found

    def result(self) -> Result:
        query, deleted = self._query, self._context.deleted or self._query.all_rows
        keep = self._condition(query.where)
        rows = [r for r in self._context.source.rows(self._sobject, deleted=deleted) if keep(r)]
        if query.select == (Aggregate("COUNT", None, None),):
            return Result(total=len(rows), records=[])
        if query.group_by or any(isinstance(i, Aggregate) for i in query.select):
            grouped = self._grouped(rows)
            return Result(total=len(grouped), records=grouped)
        shape = [self._column(item) for item in self._items()]
        rows = self._cut(self._sorted(rows, lambda row, order: self._reader(order.path)(row)))
        records = [self._shaped(row, shape) for row in rows]
        return Result(total=len(records), records=records)

    def _cut(self, rows: list[Row]) -> list[Row]:
        end = None if self._query.limit is None else self._query.offset + self._query.limit
        return rows[self._query.offset : end]

    def _sorted(self, rows: list[Row], value: Callable[[Row, Order], Any]) -> list[Row]:
        for order in reversed(self._query.order_by):
            keyed = [(compare.sort_key(value(row, order)), row) for row in rows]
            nulls = [row for key, row in keyed if key is None]
            filled = [pair for pair in keyed if pair[0] is not None]
            filled.sort(key=lambda pair: pair[0], reverse=order.descending)
            rest = [row for _, row in filled]
            rows = rest + nulls if order.nulls_last else nulls + rest
        return rows

    # -- fields -------------------------------------------------------------------------------

    def _items(self) -> list[Item]:
        items: list[Item] = []
        for item in self._query.select:
            if not isinstance(item, AllFields):
                items.append(item)
                continue
            wanted = {"ALL": (True, False), "STANDARD": (False,), "CUSTOM": (True,)}.get(item.which, ())
            items += [Path((f.name,), 1) for f in self._sobject.fields if f.custom in wanted]
        return items

    def _column(self, item: Item) -> tuple[list[str], Callable[[Row], Any]]:
        """Return the place of a column in the record and how to read it."""
        if isinstance(item, Query):
            return self._children(item)
        if not isinstance(item, Path):
            raise tokens.malformed(self._context.soql, 1, "unexpected aggregate")
        names, read = self._resolve(item)
        return names, lambda row: values.show(read(row))

    def _reader(self, path: Path | Aggregate) -> Callable[[Row], Any]:
        if isinstance(path, Aggregate):
            raise tokens.malformed(self._context.soql, 1, "Ordered field must be grouped or aggregated")
        return self._resolve(path)[1]

    def _own_parts(self, path: Path) -> tuple[str, ...]:
        parts, own = path.parts, {self._query.from_name.lower(), (self._query.alias or "").lower()}
        return parts[1:] if len(parts) > 1 and parts[0].lower() in own else parts

    def _resolve(self, path: Path) -> tuple[list[str], Callable[[Row], Any]]:
        """Return the names as Salesforce writes them, and a function from a row to the value."""
        parts = self._own_parts(path)
        relations, owners = [], [self._sobject]
        for name in parts[:-1]:
            relation = next((r for r in (o.relation(name) for o in owners) if r), None)
            if relation is None:
                message = f"Didn't understand relationship '{name}' in field path. " + _HINT.format(
                    what="relationship", suffix="__r", name="custom relationship name"
                )
                raise self._invalid(path, message)
            relations.append(relation)
            owners = [o for o in map(self._context.source.find, relation.reference_to) if o]
        last = self._last(path, parts[-1], owners)
        names = [str(r.relationship) for r in relations] + [last]
        return names, lambda row: self._follow(row, relations, last)

    def _last(self, path: Path, name: str, owners: Sequence[SObject]) -> str:
        for owner in owners:
            found = owner.find(name)
            if found is not None:
                return found.name
        if len(owners) != 1 and name.lower() in {"name", "id", "type"}:
            return name.capitalize()  # of the stand-in for every object that a lookup may point to
        entity = owners[0].name if len(owners) == 1 else "Name"
        message = f"No such column '{name}' on entity '{entity}'. " + _HINT.format(
            what="field", suffix="__c", name="custom field name"
        )
        raise self._invalid(path, message)

    def _invalid(self, path: Path, message: str) -> RestError:
        return RestError(400, "INVALID_FIELD", tokens.pointed(self._context.soql, path.at, message))

    def _follow(self, row: Row, relations: Sequence[Field], last: str) -> Any:
        sobject: SObject = self._sobject
        for relation in relations:
            target = self._context.source.any_row(row.get(relation.name) or "")
            if target is None:
                return None
            sobject, row = target
        found = sobject.find(last)
        if found is None:
            return sobject.name if last == "Type" else None
        return derive.compound(sobject, last, row) if found.type == "address" else row.get(found.name)

    def _shaped(self, row: Row, columns: Sequence[tuple[list[str], Callable[[Row], Any]]]) -> Row:
        record: Row = {"attributes": self._attributes(self._sobject, row)}
        for names, read in columns:
            place, current, owner = record, row, self._sobject
            for name in names[:-1]:
                relation = owner.relation(name)
                target = self._context.source.any_row((relation and current.get(relation.name)) or "")
                if target is None:
                    place[name] = None
                    break
                owner, current = target
                place = place.setdefault(name, {"attributes": self._attributes(owner, current)})
            else:
                place[names[-1]] = read(row)
        return record

    def _attributes(self, sobject: SObject, row: Row) -> Row:
        return {"type": sobject.name, "url": f"{self._context.base}/sobjects/{sobject.name}/{row['Id']}"}

    def _children(self, inner: Query) -> tuple[list[str], Callable[[Row], Any]]:
        found = next((c for c in self._sobject.children if c[2].lower() == inner.from_name.lower()), None)
        if found is None:
            message = f"Didn't understand relationship '{inner.from_name}' in FROM part of query call. "
            hint = _HINT.format(what="relationship", suffix="__r", name="entity name")
            place = tokens.pointed(self._context.soql, inner.from_at, message + hint)
            raise RestError(400, "INVALID_TYPE", place)
        entity, field_name, relationship = found

        def read(row: Row) -> Row | None:
            mine = Comparison(Path((field_name,), 1), "=", row["Id"])
            where: Condition = Both((mine, inner.where)) if inner.where else mine
            child = Query(
                select=inner.select, from_name=entity, from_at=inner.from_at, where=where,
                order_by=inner.order_by, limit=inner.limit, offset=inner.offset,
            )  # fmt: skip
            result = run(child, self._context)
            if not result.records:
                return None
            return {"totalSize": result.total, "done": True, "records": result.records}

        return [relationship], read

    # -- conditions ---------------------------------------------------------------------------

    def _condition(self, condition: Condition | None) -> Callable[[Row], bool]:
        if condition is None:
            return lambda _row: True
        if isinstance(condition, Negation):
            inner = self._condition(condition.term)
            return lambda row: not inner(row)
        if isinstance(condition, Both | Either):
            terms = [self._condition(t) for t in condition.terms]
            combine = all if isinstance(condition, Both) else any
            return lambda row: combine(t(row) for t in terms)
        return self._comparison(condition)

    def _comparison(self, comparison: Comparison) -> Callable[[Row], bool]:
        _, read = self._resolve(comparison.path)
        wanted = comparison.value
        if isinstance(wanted, Query):
            wanted = self._selected(wanted)
        field = self._field(comparison.path)
        try:
            test = compare.test(field, comparison.operator, wanted, self._context.today)
        except compare.Unfit as unfit:
            raise self._invalid(comparison.path, str(unfit)) from None
        return lambda row: test(read(row))

    def _field(self, path: Path) -> Field:
        owners = [self._sobject]
        parts = self._own_parts(path)
        for name in parts[:-1]:
            relation = next(r for r in (o.relation(name) for o in owners) if r)
            owners = [o for o in map(self._context.source.find, relation.reference_to) if o]
        found = next((f for f in (o.find(parts[-1]) for o in owners) if f), None)
        return found or Field(name=parts[-1], type="string", label=parts[-1])

    def _selected(self, inner: Query) -> list[Any]:
        """Return the values of the one column of a semi-join."""
        run_inner = _Run(inner, self._context)
        item = inner.select[0]
        if len(inner.select) != 1 or not isinstance(item, Path):
            raise tokens.malformed(self._context.soql, inner.from_at, "expecting one field in the subquery")
        _, read = run_inner._resolve(item)
        keep = run_inner._condition(inner.where)
        rows = self._context.source.rows(run_inner._sobject, deleted=False)
        return [read(row) for row in rows if keep(row)]

    # -- groups -------------------------------------------------------------------------------

    def _grouped(self, rows: list[Row]) -> list[Row]:
        readers = [self._resolve(path) for path in self._query.group_by]
        groups: dict[tuple[Any, ...], list[Row]] = {} if readers else {(): rows}
        for row in rows if readers else ():
            groups.setdefault(tuple(read(row) for _, read in readers), []).append(row)
        shaped = [(members, self._group(members)) for members in groups.values()]

        def value(record: Row, order: Order) -> Any:
            members = next(m for m, r in shaped if r is record)
            if isinstance(order.path, Aggregate):
                return self._aggregate(order.path, members)
            return self._resolve(order.path)[1](members[0])

        return self._cut(self._sorted([record for _, record in shaped], value))

    def _group(self, members: list[Row]) -> Row:
        record: Row = {"attributes": {"type": "AggregateResult"}}
        unnamed = 0
        for item in self._query.select:
            if isinstance(item, Aggregate):
                name = item.alias or f"expr{unnamed}"
                unnamed += item.alias is None
                record[name] = values.show(self._aggregate(item, members))
            elif isinstance(item, Path):
                names, read = self._resolve(item)
                if str(item).lower() not in {str(p).lower() for p in self._query.group_by}:
                    message = f"Field must be grouped or aggregated: {item}"
                    raise tokens.malformed(self._context.soql, item.at, message)
                record[names[-1]] = values.show(read(members[0])) if members else None
        return record

    def _aggregate(self, item: Aggregate, members: list[Row]) -> Any:
        if item.path is None:
            return len(members)
        read = self._resolve(item.path)[1]
        found = [v for v in (read(row) for row in members) if v is not None]
        if item.function == "COUNT":
            return len(found)
        if item.function == "COUNT_DISTINCT":
            return len(set(found))
        if not found:
            return None
        functions: dict[str, Callable[[list[Any]], Any]] = {
            "SUM": sum, "MIN": min, "MAX": max, "AVG": lambda v: sum(v) / len(v)
        }  # fmt: skip
        return functions[item.function](found)
