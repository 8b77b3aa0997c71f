"""The manifest: `ninelives.yaml`, or an unchanged `autokitteh.yaml` (v1 and v2), which it is a superset of.

This module knows what the file says and whether it agrees with itself. Whether the code has what the manifest
calls is for `checks`, what has to change in a project for `plans`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from ninelives_server.errors import Invalid
from ninelives_server.model.triggers import CatchUp, Overlap, TriggerType
from ninelives_server.projects import document, schedules
from ninelives_server.projects.document import Node
from ninelives_server.projects.problems import Problems, nearest
from ninelives_server.settings import LimitSettings

#: In the order in which they are looked for.
AUTOKITTEH = "autokitteh.yaml"
FILE_NAMES = ("ninelives.yaml", AUTOKITTEH)
#: What `limits` may hold.
LIMITS = tuple(name for name in LimitSettings.model_fields if name != "locked")

#: What each scheme of a webhook's `auth` takes besides the secret.
_AUTH_KEYS = {
    "hmac": ("header", "prefix", "algorithm", "encoding"),
    "slack": (),
    "token": ("header", "prefix"),
    "basic": ("user",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestVariable:
    """A variable of the project or of a connection.

    Attributes:
        value: Empty for one that is filled in later.
    """

    name: str
    value: str = field(repr=False)
    description: str
    is_secret: bool
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestConnection:
    """A connection that the project needs.

    Attributes:
        auth_mode: Empty for the integration's first one.
    """

    name: str
    integration: str
    auth_mode: str
    variables: tuple[ManifestVariable, ...]
    lines: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestTrigger:
    """A trigger; keys that were not given are empty.

    Attributes:
        connection: Name of a connection of the project, else of the org.
        options: `max_concurrent`, `key`, `overlap`, `catch_up` and `auth`, as far as given.
        lines: Line of each key that was given; that of the trigger itself under `""`.
    """

    name: str
    type: TriggerType
    connection: str
    event_type: str
    filter: str
    call: str
    schedule: str
    timezone: str
    is_durable: bool
    is_sync: bool
    options: Mapping[str, Any]
    lines: Mapping[str, int]

    def line(self, key: str) -> int:
        """Return the line of a key, or of the trigger where the key is not given."""
        return self.lines.get(key, self.lines[""])


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest that agrees with itself.

    Attributes:
        file: Its name, for messages.
        name: Of the project; empty where it has none.
        display_name: `None` where it says nothing about it.
        retention: Days by `sessions`, `events` and `logs`, as far as given.
        limits: What a session may use, by name, as far as given (`ninelives.run.limits`); 0 is no limit.
        max_concurrent: `None` where it says nothing about it.
    """

    file: str
    version: str
    name: str
    display_name: str | None
    retention: Mapping[str, int]
    limits: Mapping[str, int]
    max_concurrent: int | None
    variables: tuple[ManifestVariable, ...]
    connections: tuple[ManifestConnection, ...]
    triggers: tuple[ManifestTrigger, ...]


@cache
def schema() -> Mapping[str, Any]:
    """Return the published JSON Schema."""
    text = resources.files(__package__).joinpath("manifest.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def parse(text: str, file_name: str) -> Manifest:
    """Read a manifest.

    Raises:
        Invalid: All that is wrong, a line each: `ninelives.yaml:14: unknown key 'evnt_type' …`.
    """
    problems = Problems()
    parsed = read(text, file_name, problems)
    problems.stop_if_any()
    assert parsed is not None
    return parsed


def read(text: str, file_name: str, problems: Problems) -> Manifest | None:
    """Read a manifest as far as it can be read; what is wrong or odd is added to `problems`.

    Returns:
        The manifest, without what is wrong in it; `None` where it is no YAML.
    """
    try:
        root = document.read(text, file_name, schema(), problems)
    except Invalid:
        return None  # `problems` has the reason
    return _Parser(file_name, problems).parse(root)


def to_json(manifest: Manifest) -> dict[str, Any]:
    """Return the manifest as a document for people and for the next deploy; without values of secrets."""

    def variables(found: Sequence[ManifestVariable]) -> list[dict[str, Any]]:
        return [
            {
                "name": item.name,
                "value": "" if item.is_secret else item.value,
                "secret": item.is_secret,
                "description": item.description,
            }
            for item in found
        ]

    keys = ("connection", "event_type", "filter", "call", "schedule", "timezone", "is_durable", "is_sync")
    return {
        "version": manifest.version,
        "project": {
            "name": manifest.name,
            "display_name": manifest.display_name or "",
            "retention": dict(manifest.retention),
            "limits": dict(manifest.limits),
            **({} if manifest.max_concurrent is None else {"max_concurrent": manifest.max_concurrent}),
            "vars": variables(manifest.variables),
            "connections": [
                {
                    "name": c.name,
                    "integration": c.integration,
                    "auth_mode": c.auth_mode,
                    "vars": variables(c.variables),
                }
                for c in manifest.connections
            ],
            "triggers": [
                {"name": t.name, "type": str(t.type), **{key: getattr(t, key) for key in keys}, **t.options}
                for t in manifest.triggers
            ],
        },
    }


def _numbers(project: Node, key: str, names: Sequence[str]) -> dict[str, int]:
    """Return the whole numbers of a mapping of the project."""
    node = project.get(key)
    if node is None:
        return {}
    found = {name: node.get(name) for name in names}
    return {n: f.value for n, f in found.items() if f is not None and isinstance(f.value, int)}


class _Parser:
    def __init__(self, file: str, problems: Problems) -> None:
        self._file = file
        self._problems = problems

    def parse(self, root: Node) -> Manifest:
        project = root.get("project") or Node(root.line, {})
        version = root.text("version")
        if not version and self._file == "autokitteh.yaml":
            message = "the manifest has no 'version'; write 'version: v1' or 'version: v2'"
            self._wrong(root.line, message, "missing-version")
        # Without a version, a manifest of ours: durable is what this server is for.
        durable = version != "v2"
        display = project.get("display_name")
        return Manifest(
            file=self._file,
            version=version,
            name=project.text("name"),
            display_name=None if display is None else project.text("display_name"),
            retention=_numbers(project, "retention", ("sessions", "events", "logs")),
            limits=_numbers(project, "limits", LIMITS),
            max_concurrent=project.number("max_concurrent"),
            variables=self._variables(project),
            connections=tuple(self._connection(node) for node in self._unique(project, "connections")),
            triggers=tuple(self._trigger(node, durable) for node in self._unique(project, "triggers")),
        )

    def _wrong(self, line: int, message: str, rule: str = "manifest-value") -> None:
        self._problems.add(self._file, line, message, rule)

    def _unique(self, node: Node, key: str) -> list[Node]:
        """Return the items of a list; a name that comes twice is wrong."""
        found = node.items(key)
        first: dict[str, int] = {}
        for item in found:
            name, line = item.text("name"), item.line_of("name")
            if name and name in first:
                what = {"vars": "variable", "connections": "connection", "triggers": "trigger"}[key]
                message = f"there are two {what}s {name!r}; the first is in line {first[name]}"
                self._wrong(line, message, "duplicate-name")
            first.setdefault(name, line)
        return found

    def _variables(self, node: Node) -> tuple[ManifestVariable, ...]:
        return tuple(
            ManifestVariable(
                name=item.text("name"),
                value=item.text("value"),
                description=item.text("description"),
                is_secret=item.flag("secret", default=False),
                line=item.line_of("name"),
            )
            for item in self._unique(node, "vars")
        )

    def _connection(self, node: Node) -> ManifestConnection:
        return ManifestConnection(
            name=node.text("name"),
            integration=node.text("integration"),
            auth_mode=node.text("auth_mode"),
            variables=self._variables(node),
            lines={**node.key_lines, "": node.line},
        )

    def _trigger(self, node: Node, durable: bool) -> ManifestTrigger:
        kind = self._type(node)
        if kind is TriggerType.SCHEDULE:
            self._schedule(node)
        elif node.text("timezone"):
            message = "'timezone' is for triggers with a 'schedule' only"
            self._wrong(node.line_of("timezone"), message, "trigger-type")
        if kind is not TriggerType.WEBHOOK and node.flag("is_sync", default=False):
            message = "'is_sync' is for webhooks only; it is ignored"
            self._problems.warn(self._file, node.line_of("is_sync"), message, "ignored-key")
        event_type = node.text("event_type")
        return ManifestTrigger(
            name=node.text("name"),
            type=kind,
            connection=node.text("connection"),
            event_type="" if event_type == "*" else event_type,
            filter=node.text("filter").strip(),
            call=node.text("call").strip(),
            schedule=node.text("schedule").strip(),
            timezone=node.text("timezone") or "UTC",
            is_durable=node.flag("is_durable", default=durable),
            is_sync=kind is TriggerType.WEBHOOK and node.flag("is_sync", default=False),
            options=self._options(node, kind),
            lines={**node.key_lines, "": node.line},
        )

    def _options(self, node: Node, kind: TriggerType) -> dict[str, Any]:
        """Return what only some triggers have, without what means the default."""
        if kind is not TriggerType.SCHEDULE and node.text("catch_up"):
            self._wrong(
                node.line_of("catch_up"), "'catch_up' is for triggers with a 'schedule' only", "trigger-type"
            )
        overlap, limit = node.text("overlap"), node.number("max_concurrent")
        if overlap == Overlap.QUEUE_ONE and limit not in {None, 1}:
            self._wrong(
                node.line_of("max_concurrent"),
                "'overlap: queue one' runs one session at a time",
                "manifest-value",
            )
        options = {
            "max_concurrent": limit,
            "key": node.text("key").strip(),
            "overlap": "" if overlap == Overlap.ALLOW else overlap,
            "catch_up": "" if node.text("catch_up") == CatchUp.LAST else node.text("catch_up"),
            "auth": self._auth(node, kind),
        }
        return {name: value for name, value in options.items() if value}

    def _auth(self, node: Node, kind: TriggerType) -> dict[str, str]:
        auth = node.get("auth")
        if auth is None or auth.value is None:
            return {}
        if kind is not TriggerType.WEBHOOK:
            self._wrong(node.line_of("auth"), "'auth' is for webhooks only", "trigger-type")
        scheme = auth.text("scheme")
        allowed = {"scheme", "secret", *_AUTH_KEYS.get(scheme, ())}
        for key in auth.key_lines:
            if key not in allowed and scheme in _AUTH_KEYS:
                self._wrong(
                    auth.line_of(key), f"{key!r} does not go with 'scheme: {scheme}'", "manifest-value"
                )
        if scheme == "basic" and not auth.text("user"):
            self._wrong(node.line_of("auth"), "'scheme: basic' needs a 'user'")
        return {key: auth.text(key) for key in auth.key_lines}

    def _type(self, node: Node) -> TriggerType:
        """Return what a trigger is, from `type` and from the keys that only one type has."""
        name = node.text("name")
        # `webhook:` without a value is written by hand now and then, and can mean one thing only.
        given = [kind for kind in TriggerType if node.get(kind) is not None]
        stated = node.text("type")
        if not name or (stated and stated not in set(TriggerType)):
            return (given or [TriggerType.WEBHOOK])[0]  # what is wrong is said already
        kind = TriggerType(stated) if stated else (given or [TriggerType.WEBHOOK])[0]
        if len(given) > 1:
            both = " and ".join(repr(str(key)) for key in given)
            line, message = node.line_of(given[1]), f"has {both}; it can have only one of them"
        elif not given and not stated:
            line, message = (
                node.line,
                "has no 'type'; give it a 'schedule', a 'connection' or 'type: webhook'",
            )
        elif given and stated and stated != given[0]:
            line, message = node.line_of("type"), f"is a {stated} but has {str(given[0])!r}"
        elif kind is not TriggerType.WEBHOOK and not node.text(kind):
            line, message = node.line_of(kind), f"is a {kind} and has no {str(kind)!r}"
        else:
            return kind
        self._wrong(line, f"trigger {name!r} {message}", "trigger-type")
        return kind

    def _schedule(self, node: Node) -> None:
        if node.text("schedule") and (trouble := schedules.trouble(node.text("schedule"))):
            self._wrong(node.line_of("schedule"), trouble, "bad-schedule")
        zone = node.text("timezone")
        if zone and (trouble := schedules.zone_trouble(zone)):
            close = nearest(zone, schedules.zones()).partition("; there is")[0]
            self._wrong(node.line_of("timezone"), trouble + close, "bad-schedule")
