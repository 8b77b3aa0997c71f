"""Filters of triggers and subscriptions: CEL over `data` and `event_type`, yielding a bool. Keys likewise.

The language is https://cel.dev with the extensions that AutoKitteh's projects rely on (strings, math,
encoders, bindings, sets and lists) and optional values. The library stops an expression after a budget of
iterations, and its regular expressions are linear (RE2), so a filter cannot hold up the server.
"""

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_strings

from ninelives_server.errors import Invalid

_INT64 = range(-(2**63), 2**63)
_HUGE = 10**308
#: Longer expressions are refused: nobody can read them, and the parser's depth is limited. characters
LONGEST = 10_000
_CACHED = 2048
#: Types of a key's value.
_SCALARS = (cel.Type.STRING, cel.Type.INT, cel.Type.UINT, cel.Type.DOUBLE, cel.Type.BOOL, cel.Type.NULL)
# `_>_(int, string)`, as the library writes an operator between two values.
_INFIX = re.compile(r"^_(\S+)_\((.*), (.*)\)$")
_NO_OVERLOAD = "No matching overloads found : "
_TEST_IT = "test it before, as in `data.body.json != null &&`"
#: What the library says of values that are not of the kind that an expression needs, and what we say.
_WRONG_KINDS = {
    "Applying SELECT": f"a field is read of a value that has no fields, such as null or a text; {_TEST_IT}",
    "Invalid container type: ": f"`[…]` is applied to a value that is neither list nor map: {{}}; {_TEST_IT}",
    f"{_NO_OVERLOAD}<iter_range>": "`exists`, `all`, `map` and `filter` need a list or a map",
    f"{_NO_OVERLOAD}<jump_condition>": "what stands before `?` is no bool",
    f"{_NO_OVERLOAD}@in": "what stands behind `in` is neither list nor map",
    _NO_OVERLOAD: "the values are not of the types that this needs: {}",
}


class Filters:
    """Compiles each expression once and evaluates it against events."""

    def __init__(self) -> None:
        self._env = cel.NewEnv(
            variables={"data": cel.Type.Map(cel.Type.STRING, cel.Type.DYN), "event_type": cel.Type.STRING},
            config=cel.NewEnvConfigFromYaml("extensions: [{name: sets}, {name: lists}, {name: optional}]"),
            extensions=[
                ext_strings.ExtStrings(),
                ext_math.ExtMath(),
                ext_encoders.ExtEncoders(),
                ext_bindings.ExtBindings(),
            ],
        )
        self._programs = lru_cache(maxsize=_CACHED)(self._compile)

    def check(self, expression: str) -> str | None:
        """Return what is wrong with an expression, or `None`; an empty one is right and always true."""
        try:
            if expression.strip():
                self._filter(expression)
        except Invalid as error:
            return str(error)
        return None

    def matches(self, expression: str, data: Mapping[str, Any], event_type: str) -> bool:
        """Say whether an event passes a filter.

        Raises:
            Invalid: The expression is wrong, or fails for this event; the message says how.
        """
        if not expression.strip():
            return True
        found = self._result(self._filter(expression), data, event_type)
        if isinstance(found, _Failure):
            raise Invalid(f"filter failed: {found.text}", code="filter_failed")
        if found.type() != cel.Type.BOOL:
            kind = found.type().name().lower()
            raise Invalid(f"filter failed: it yields {kind} for this event, not a bool", code="filter_failed")
        return bool(found.value())

    def check_key(self, expression: str) -> str | None:
        """Return what is wrong with the expression of a key, or `None`; an empty one is right."""
        try:
            if expression.strip():
                self._key(expression)
        except Invalid as error:
            return str(error)
        return None

    def key(self, expression: str, data: Mapping[str, Any], event_type: str) -> str | None:
        """Return an event's key: text, number or bool, as text; `None` where it is null or empty.

        Raises:
            Invalid: The expression is wrong, or fails for this event; the message says how.
        """
        if not expression.strip():
            return None
        found = self._result(self._key(expression), data, event_type)
        if isinstance(found, _Failure):
            raise Invalid(f"key failed: {found.text}", code="key_failed")
        if found.type() not in _SCALARS:
            kind = found.type().name().lower()
            raise Invalid(f"key failed: it yields {kind}; a text or number is needed", code="key_failed")
        value = found.value()
        return None if value is None or value == "" else str(value)

    def _key(self, expression: str) -> Any:
        program = self._programs(expression)
        found = program.return_type()
        if found not in (*_SCALARS, cel.Type.DYN):
            kind = found.name().lower()
            raise Invalid(f"the key yields {kind}; it must be a text or a number", code="key_invalid")
        return program

    def _filter(self, expression: str) -> Any:
        program = self._programs(expression)
        found = program.return_type()
        if found not in (cel.Type.BOOL, cel.Type.DYN):
            kind = found.name().lower()
            is_optional = kind.startswith("optional_type")
            way = "end it with .hasValue() or .orValue(…)" if is_optional else "compare it with something"
            raise Invalid(f"the filter yields {kind}; {way} to get a bool", code="filter_invalid")
        return program

    def _compile(self, expression: str) -> Any:
        if len(expression) > LONGEST:
            raise Invalid(f"the expression has {len(expression)} characters; {LONGEST} are allowed")
        try:
            return self._env.compile(expression)
        except (RuntimeError, ValueError) as error:
            raise Invalid(_first_line(str(error)), code="filter_invalid") from None

    @staticmethod
    def _result(program: Any, data: Mapping[str, Any], event_type: str) -> Any:
        """Return the value, or how it failed."""
        found = _evaluate(program, data, event_type)
        if isinstance(found, _Failure) and "out of range" in found.text:
            # Integers beyond 64 bits have no form in CEL: they count as doubles, as they do in JavaScript.
            found = _evaluate(program, _narrowed(data), event_type)
        return found


class _Failure(NamedTuple):
    """An expression could not be evaluated for an event; the text says why."""

    text: str


def _evaluate(program: Any, data: Mapping[str, Any], event_type: str) -> Any:
    try:
        value = program.eval(data={"data": data, "event_type": event_type})
    except RuntimeError as error:
        return _Failure(_plain(str(error)))
    return _Failure(_plain(str(value.value()))) if value.type() == cel.Type.ERROR else value


def _plain(text: str) -> str:
    """Turn the library's message into one for the filter's author."""
    head, _, rest = text.partition(": ")
    message = (rest if head.isupper() else text).splitlines()[0].strip()
    message = message.removesuffix(f" [{head}]").rstrip(".")
    if message.startswith("Key not found in map"):
        key = message.rpartition(":")[2].strip().strip('"')
        return f"the event has no {key!r}; write `has(…) &&` before its use where it may be missing"
    if message.startswith("optional.none() dereference"):
        return "the value is missing: optional.none() has none; use .orValue(…) where it may be so"
    for beginning, words in _WRONG_KINDS.items():
        if message.startswith(beginning):
            told = message.removeprefix(beginning).replace("null_type", "null")
            return words.format(_INFIX.sub(r"\2 \1 \3", told))
    return message


def _first_line(text: str) -> str:
    """Keep place and message of the first error of the compiler: `1:7: undeclared reference to 'dat'`."""
    line = _plain(text).removeprefix("ERROR: ").removeprefix("<input>:")
    return line.removesuffix(" (in container '')").partition(" expecting {")[0]


def _narrowed(value: Any) -> Any:
    """Return a copy in which integers beyond 64 bits are doubles."""
    if isinstance(value, Mapping):
        return {key: _narrowed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_narrowed(item) for item in value]
    if isinstance(value, int) and value not in _INT64:
        return float(value) if abs(value) < _HUGE else math.copysign(math.inf, 1 if value > 0 else -1)
    return value
