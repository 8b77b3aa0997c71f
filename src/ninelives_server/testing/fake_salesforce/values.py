"""What a client writes into fields, checked and turned into the values that the org keeps; and back.

Texts are kept as text, dates as `date`, datetimes as aware `datetime` without fractions.
"""

import re
from datetime import date, datetime
from typing import Any

from ninelives_server.testing.fake_salesforce import sfid, times
from ninelives_server.testing.fake_salesforce.faults import RestError
from ninelives_server.testing.fake_salesforce.schema.fields import NUMBERS, Field, SObject

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_JSON_KINDS = {bool: "VALUE_TRUE", int: "VALUE_NUMBER_INT", float: "VALUE_NUMBER_FLOAT", str: "VALUE_STRING"}


def writable(sobject: SObject, name: str, *, creating: bool) -> Field:
    """Return the field of this name.

    Raises:
        RestError: There is no such field, or nobody may write it.
    """
    found = sobject.find(name)
    if found is None:
        raise RestError(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {sobject.name}")
    if not (found.creatable if creating else found.updateable):
        message = (
            f"Unable to create/update fields: {found.name}. Please check the security settings of this "
            "field and verify that it is read/write for your profile or permission set."
        )
        raise RestError(400, "INVALID_FIELD_FOR_INSERT_UPDATE", message, fields=[found.name])
    return found


def accept(field: Field, value: Any) -> Any:
    """Return what the org keeps for a value that a client sent.

    Raises:
        RestError: The value does not fit the field.
    """
    if value is None or value == "":
        return False if field.type == "boolean" else None
    if field.type == "boolean":
        return _boolean(field, value)
    if field.type in NUMBERS:
        return _number(field, value)
    if field.type == "date":
        return _parsed(field, value, _date)
    if field.type == "datetime":
        return _parsed(field, value, lambda v: times.whole_seconds(times.read_datetime(v)))
    if field.type in {"reference", "id"}:
        return _id(field, value)
    return _text(field, value)


def _wrong_type(kind: str, value: Any) -> RestError:
    shape = _JSON_KINDS.get(type(value), "START_OBJECT")
    message = (
        f"Cannot deserialize instance of {kind} from {shape} value {value} or request may be missing "
        "a required field at [line:1, column:1]"
    )
    return RestError(400, "JSON_PARSER_ERROR", message)


def _boolean(field: Field, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise _wrong_type(field.type, value)


def _number(field: Field, value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _wrong_type(field.type, value)
    try:
        amount = float(value)
    except ValueError:
        raise _wrong_type(field.type, value) from None
    if abs(amount) >= 10 ** (field.precision - field.scale if field.precision else 18):
        message = f"{field.label}: value outside of valid range on numeric field: {value}"
        raise RestError(400, "NUMBER_OUTSIDE_VALID_RANGE", message, fields=[field.name])
    return int(amount) if field.type == "int" else round(amount, field.scale)


def _date(value: str) -> date:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        return date.fromisoformat(value)
    return times.read_datetime(value).date()


def _parsed(field: Field, value: Any, parse: Any) -> Any:
    if not isinstance(value, str):
        raise _wrong_type(field.type, value)
    try:
        return parse(value)
    except ValueError:
        raise _wrong_type(field.type, value) from None


def _id(field: Field, value: Any) -> str:
    found = sfid.normalise(value)
    if found is None:
        message = f"{field.label}: id value of incorrect type: {value}"
        raise RestError(400, "MALFORMED_ID", message, fields=[field.name])
    return found


def _text(field: Field, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong_type(field.type, value)
    text = value.strip() if field.type != "textarea" else value
    if field.length and len(text) > field.length:
        message = f"{field.label}: data value too large: {text} (max length={field.length})"
        raise RestError(400, "STRING_TOO_LONG", message, fields=[field.name])
    if field.type == "email" and not _EMAIL.fullmatch(text):
        message = f"{field.label}: invalid email address: {text}"
        raise RestError(400, "INVALID_EMAIL_ADDRESS", message, fields=[field.name])
    if field.restricted and text not in field.picklist:
        message = f"{field.label}: bad value for restricted picklist field: {text}"
        raise RestError(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, fields=[field.name])
    return text


def show(value: Any) -> Any:
    """Return the JSON form of a kept value."""
    if isinstance(value, datetime):
        return times.write_datetime(value)
    if isinstance(value, date):
        return value.isoformat()
    return value
