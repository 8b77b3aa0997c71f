"""Filters of triggers and subscriptions: CEL over `data` and `event_type`, yielding a bool.

The language is https://cel.dev with the extensions that AutoKitteh's projects rely on: strings, math,
encoders, bindings, sets and lists. The library stops an expression after a budget of iterations, and its
regular expressions are linear (RE2), so a filter cannot hold up the server.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_strings

from ninelives_server.errors import Invalid

_INT64 = range(-(2**63), 2**63)
_HUGE = 10**308
#: Longer expressions are refused: nobody can read them, and the parser's depth is limited. characters
LONGEST = 10_000
_CACHED = 2048


class Filters:
    """Compiles each expression once and evaluates it against events."""

    def __init__(self) -> None:
        self._env = cel.NewEnv(
            variables={"data": cel.Type.Map(cel.Type.STRING, cel.Type.DYN), "event_type": cel.Type.STRING},
            config=cel.NewEnvConfigFromYaml("extensions: [{name: sets}, {name: lists}]"),
            extensions=[
                ext_strings.ExtStrings(),
                ext_math.ExtMath(),
                ext_encoders.ExtEncoders(),
                ext_bindings.ExtBindings(),
            ],
        )
        self._compiled = lru_cache(maxsize=_CACHED)(self._compile)

    def check(self, expression: str) -> str | None:
        """Return what is wrong with an expression, or `None`; an empty one is right and always true."""
        try:
            if expression.strip():
                self._compiled(expression)
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
        program = self._compiled(expression)
        result = _evaluate(program, data, event_type)
        if isinstance(result, str) and "out of range" in result:
            # Integers beyond 64 bits have no form in CEL: they count as doubles, as they do in JavaScript.
            result = _evaluate(program, _narrowed(data), event_type)
        if isinstance(result, str):
            raise Invalid(f"filter failed: {result}", code="filter_failed")
        return result

    def _compile(self, expression: str) -> Any:
        if len(expression) > LONGEST:
            raise Invalid(f"the filter has {len(expression)} characters; {LONGEST} are allowed")
        try:
            program = self._env.compile(expression)
        except (RuntimeError, ValueError) as error:
            raise Invalid(_first_line(str(error)), code="filter_invalid") from None
        found = program.return_type()
        if found not in (cel.Type.BOOL, cel.Type.DYN):
            raise Invalid(
                f"the filter yields {found.name().lower()}; compare it with something to get a bool",
                code="filter_invalid",
            )
        return program


def _evaluate(program: Any, data: Mapping[str, Any], event_type: str) -> bool | str:
    """Return the result, or what went wrong as text."""
    try:
        value = program.eval(data={"data": data, "event_type": event_type})
    except RuntimeError as error:
        return _plain(str(error))
    kind = value.type()
    if kind == cel.Type.BOOL:
        return bool(value.value())
    if kind == cel.Type.ERROR:
        return _plain(str(value.value()))
    return f"it yields {kind.name().lower()} for this event, not a bool"


def _plain(text: str) -> str:
    """Turn the library's message into one for the filter's author."""
    head, _, rest = text.partition(": ")
    message = (rest if head.isupper() else text).splitlines()[0].strip()
    message = message.removesuffix(f" [{head}]").rstrip(".")
    if message.startswith("Key not found in map"):
        key = message.rpartition(":")[2].strip().strip('"')
        return f"the event has no {key!r}; write `has(…) &&` before its use where it may be missing"
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
