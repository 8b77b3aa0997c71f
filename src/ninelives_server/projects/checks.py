"""Whether a manifest agrees with the code beside it, and with the integrations and filters of this server."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from ninelives_server.projects.bundles import Bundle
from ninelives_server.projects.code import Code
from ninelives_server.projects.manifest import Manifest, ManifestTrigger
from ninelives_server.projects.problems import Problems, nearest

_CALL = re.compile(r"([^:]+\.py):([^:]+)")
_SHOWN = 6


class FilterCheck(Protocol):
    """Knows the language of filters (`events.filters`)."""

    def check(self, expression: str) -> str | None:
        """Return what is wrong with an expression, or `None`."""
        ...

    def check_key(self, expression: str) -> str | None:
        """Return what is wrong with the expression of a key, or `None`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a manifest may refer to besides the code.

    Attributes:
        integrations: Names of the integrations of this server.
        connections: Names of the connections that the project and its org have already.
    """

    integrations: Collection[str]
    connections: Collection[str]
    filters: FilterCheck


def check(manifest: Manifest, bundle: Bundle, code: Code, around: Surroundings) -> None:
    """Compare a manifest with what it refers to.

    Raises:
        Invalid: All that does not agree, a line each.
    """
    problems = Problems()
    for connection in manifest.connections:
        kind = connection.integration
        if kind not in around.integrations:
            message = f"connection {connection.name!r} is of the unknown integration {kind!r}"
            line = connection.lines.get("integration", connection.lines[""])
            problems.add(manifest.file, line, message + nearest(kind, around.integrations))
    known = {connection.name for connection in manifest.connections} | set(around.connections)
    for trigger in manifest.triggers:
        for key, message in _wrong_in(trigger, bundle, code, around.filters, known):
            problems.add(manifest.file, trigger.line(key), message)
        file = trigger.call.partition(":")[0]
        if file in code.broken:
            line, reason = code.broken[file]
            problems.add(file, line, reason)
    problems.stop_if_any()


def warnings(code: Code) -> list[str]:
    """Return what is odd about the code and yet may be meant."""
    return [f"{file}:{line}: {reason}; it cannot be imported" for file, (line, reason) in code.broken.items()]


def _wrong_in(
    trigger: ManifestTrigger, bundle: Bundle, code: Code, filters: FilterCheck, connections: Collection[str]
) -> Iterable[tuple[str, str]]:
    """Yield key and message for what is wrong in a trigger."""
    who = f"trigger {trigger.name!r}"
    if trigger.connection and trigger.connection not in connections:
        hint = nearest(trigger.connection, connections)
        yield "connection", f"{who} listens to the unknown connection {trigger.connection!r}{hint}"
    if trouble := filters.check(trigger.filter):
        yield "filter", f"the filter of {who}: {trouble}"
    if trouble := filters.check_key(str(trigger.options.get("key", ""))):
        yield "key", f"the key of {who}: {trouble}"
    if trigger.call and (trouble := call_trouble(trigger.call, bundle.files, code)):
        yield "call", f"{who} calls {trouble}"


def call_trouble(call: str, files: Collection[str], code: Code) -> str | None:
    """Return what is wrong with `file.py:function`, or `None`."""
    parts = _CALL.fullmatch(call)
    if parts is None:
        return f"{call!r}, which is not of the form file.py:function"
    file, name = parts.groups()
    if file not in files:
        return f"{call}, but there is no {file}{nearest(file, [f for f in files if f.endswith('.py')])}"
    if file in code.broken or name in (names := code.names_in(file)):
        return None
    if not names:
        return f"{call}, which does not exist; {file} has no function or class at its top level"
    close = nearest(name, names).partition("; there is")[0]
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    return f"{call}, which does not exist{close or f'; {file} has {shown}'}"
