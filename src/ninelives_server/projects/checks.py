"""Whether a manifest agrees with the code beside it, and with the integrations and filters of this server."""

import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from ninelives_server.model.triggers import TriggerType
from ninelives_server.projects import requirements, schedules
from ninelives_server.projects.code import Code
from ninelives_server.projects.manifest import Manifest, ManifestTrigger
from ninelives_server.projects.problems import Problems, nearest
from ninelives_server.projects.sources import Source

_CALL = re.compile(r"([^:]+\.py):([^:]+)")
_SHOWN = 6
#: What reads the code here: what newer ones know may be an error in it.
_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"
#: AutoKitteh's limit; more works here, and is rarely meant. bytes
_LARGE = 1_000_000


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
        connections: Names of the connections that the project and its org have already; `None` where
            nobody knows, because no server was asked.
        values: Names of the project's variables that have a value already.
        now: For the next times of a schedule.
        unreachable: Why webhooks cannot be reached from outside; empty where they can, or nobody knows.
    """

    integrations: Collection[str]
    connections: Collection[str] | None
    filters: FilterCheck
    now: datetime
    values: Collection[str] = ()
    unreachable: str = ""


class Trouble(NamedTuple):
    """What is wrong, and the rule that it breaks."""

    rule: str
    message: str


def check(source: Source, around: Surroundings, problems: Problems) -> None:
    """Compare what was read with what it refers to; all that does not agree is added to `problems`."""
    manifest, code = source.manifest, source.code
    called: set[str] = set()
    if manifest is not None:
        _check_connections(manifest, around, problems)
        _check_variables(manifest, around, problems)
        _check_triggers(source, manifest, around, problems)
        _check_uses(manifest, code, around, problems)
        called = {trigger.call.partition(":")[0] for trigger in manifest.triggers}
    for file, (line, reason) in code.broken.items():
        # Whatever is at the top may be called by hand or imported by name; below it there may be templates.
        if file in called or "/" not in file:
            problems.add(file, line, f"syntax error in {_PYTHON}: {reason}", "syntax-error")
        else:
            message = f"syntax error in {_PYTHON}: {reason}; it cannot be imported"
            problems.warn(file, line, message, "syntax-error")
    requirements.check(source.bundle, code, problems)
    if (size := source.bundle.size_bytes) > _LARGE:
        problems.warn(
            "", 0, f"the project has {size:,} bytes; {_LARGE:,} are plenty for code", "project-size"
        )


def _check_connections(manifest: Manifest, around: Surroundings, problems: Problems) -> None:
    for connection in manifest.connections:
        kind = connection.integration
        if kind and kind not in around.integrations:
            message = f"connection {connection.name!r} is of the unknown integration {kind!r}"
            line = connection.lines.get("integration", connection.lines[""])
            message += nearest(kind, around.integrations)
            problems.add(manifest.file, line, message, "unknown-integration")


def _check_variables(manifest: Manifest, around: Surroundings, problems: Problems) -> None:
    for variable in manifest.variables:
        if variable.name and not variable.value and variable.name not in around.values:
            message = (
                f"variable {variable.name} has no value yet; set it with "
                f"`ninelives var set {manifest.name or 'PROJECT'} {variable.name} …`"
            )
            problems.warn(manifest.file, variable.line, message, "empty-variable")


def _check_triggers(source: Source, manifest: Manifest, around: Surroundings, problems: Problems) -> None:
    if not manifest.triggers:
        message = "the project has no triggers; only `ninelives session start` runs its code"
        problems.warn(manifest.file, 0, message, "no-triggers")
    known = {connection.name for connection in manifest.connections} | set(around.connections or ())
    for trigger in manifest.triggers:
        for key, (rule, message) in _wrong_in(trigger, source, around, known):
            problems.add(manifest.file, trigger.line(key), message, rule)
        for key, (rule, message) in _odd_in(trigger, around):
            problems.warn(manifest.file, trigger.line(key), message, rule)


def _wrong_in(
    trigger: ManifestTrigger, source: Source, around: Surroundings, connections: Collection[str]
) -> Iterator[tuple[str, Trouble]]:
    """Yield key and trouble for what is wrong in a trigger."""
    who = f"trigger {trigger.name!r}"
    if trigger.connection and trigger.connection not in connections:
        hint = nearest(trigger.connection, connections)
        message = f"{who} listens to the unknown connection {trigger.connection!r}{hint}"
        if around.connections is None:
            message += "; if it is one of the org's, only a server knows"
        yield "connection", Trouble("unknown-connection", message)
    if trouble := around.filters.check(trigger.filter):
        yield "filter", Trouble("bad-filter", f"the filter of {who}: {trouble}")
    if trouble := around.filters.check_key(str(trigger.options.get("key", ""))):
        yield "key", Trouble("bad-filter", f"the key of {who}: {trouble}")
    if trigger.call and (found := call_trouble(trigger.call, source.bundle.files, source.code)):
        yield "call", Trouble(found.rule, f"{who} calls {found.message}")


def _odd_in(trigger: ManifestTrigger, around: Surroundings) -> Iterator[tuple[str, Trouble]]:
    """Yield key and trouble for what is odd in a trigger."""
    if trigger.type is TriggerType.WEBHOOK and around.unreachable:
        message = f"webhook {trigger.name!r} cannot be called from outside: {around.unreachable}"
        yield "", Trouble("webhook-unreachable", message)
    wanted = trigger.event_type
    if trigger.type is TriggerType.WEBHOOK and wanted != wanted.lower():
        message = (
            f"trigger {trigger.name!r} waits for {wanted!r}, which never comes: the event type of a webhook "
        )
        yield (
            "event_type",
            Trouble("event-type", message + f"is the method in small letters, {wanted.lower()!r}"),
        )
    if trigger.type is TriggerType.SCHEDULE:
        oddity = schedules.oddity(trigger.schedule, trigger.timezone, around.now)
        if oddity:
            yield "schedule", Trouble("six-field-schedule", oddity)
        if never := schedules.never(trigger.schedule, trigger.timezone, around.now):
            yield "schedule", Trouble("no-more-times", f"trigger {trigger.name!r}: {never}")


def _check_uses(manifest: Manifest, code: Code, around: Surroundings, problems: Problems) -> None:
    """Warn of names in the code that nothing has; a name may be computed, so this is no error."""
    connections = {connection.name for connection in manifest.connections} | set(around.connections or ())
    triggers = {trigger.name for trigger in manifest.triggers}
    for use in code.uses:
        known = connections | triggers if use.may_be_trigger else connections
        if use.name not in known:
            what = "connection or trigger" if use.may_be_trigger else "connection"
            message = (
                f"{use.function}({use.name!r}): the manifest has no such {what}{nearest(use.name, known)}"
            )
            problems.warn(use.file, use.line, message, "undeclared-connection")


def call_trouble(call: str, files: Collection[str], code: Code) -> Trouble | None:
    """Return what is wrong with `file.py:function`, or `None`."""
    parts = _CALL.fullmatch(call)
    if parts is None and call.partition(":")[0].endswith(".star"):
        return Trouble("bad-call", f"{call!r}, which is Starlark; sessions run Python (file.py:function)")
    if parts is None:
        return Trouble("bad-call", f"{call!r}, which is not of the form file.py:function")
    file, name = parts.groups()
    if file not in files:
        hint = nearest(file, [f for f in files if f.endswith(".py")])
        return Trouble("file-not-found", f"{call}, but there is no {file}{hint}")
    if file in code.broken or name in (names := code.names_in(file)):
        return None
    if not names:
        message = f"{call}, which does not exist; {file} has no function or class at its top level"
        return Trouble("handler-not-found", message)
    close = nearest(name, names).partition("; there is")[0]
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    message = f"{call}, which does not exist{close or f'; {file} has {shown}'}"
    return Trouble("handler-not-found", message)
