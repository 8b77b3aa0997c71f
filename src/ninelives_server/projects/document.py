"""YAML read with line numbers and checked against a JSON Schema, so that each error names its line.

The schema is the one that is published; the part of JSON Schema that it uses is understood here, and a test
compares our verdicts with those of `jsonschema`. Unlike that library we take any scalar where a string is
wanted, as it is written: `value: 5` is the text `5`, and `event_type: on` is no boolean. A key without a
value counts as not given, as AutoKitteh reads it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from ninelives_server.projects.problems import Problems, nearest

#: A larger file is no manifest. characters
LONGEST = 1_000_000
_DEEPEST = 20
_MOST_NODES = 50_000  # aliases make a small file large

Schema = Mapping[str, Any]
Scalar = str | bool | int | None


@dataclass(frozen=True, slots=True)
class Node:
    """A value and the line where it stands. `value` is a scalar, a list of nodes or a dict of nodes."""

    line: int
    value: "Scalar | list[Node] | dict[str, Node]"
    key_lines: Mapping[str, int] = field(default_factory=dict)

    def text(self, key: str, default: str = "") -> str:
        """Return the text of a key; `default` where it is not given."""
        found = self.get(key)
        return default if found is None or found.value is None else str(found.value)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return the boolean of a key; `default` where it is not given."""
        found = self.get(key)
        return found.value if found is not None and isinstance(found.value, bool) else default

    def number(self, key: str) -> int | None:
        """Return the whole number of a key; `None` where it is not given."""
        found = self.get(key)
        value = None if found is None else found.value
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def get(self, key: str) -> "Node | None":
        """Return the node of a key."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def items(self, key: str) -> "list[Node]":
        """Return the nodes of the list of a key; none where it is not given."""
        found = self.get(key)
        return found.value if found is not None and isinstance(found.value, list) else []

    def line_of(self, key: str) -> int:
        """Return the line of a key, or of the whole where it is not given."""
        return self.key_lines.get(key, self.line)


def read(text: str, file: str, schema: Schema, problems: Problems) -> Node:
    """Read a document; what does not fit the schema is added to `problems`.

    Raises:
        Invalid: It is no YAML, or so wrong that there is no point in reading on.
    """
    unreadable = "manifest-unreadable"
    if len(text) > LONGEST:
        problems.add(file, 1, f"has {len(text)} characters; {LONGEST} are allowed", unreadable)
        problems.stop_if_any()
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problems.add(file, line, f"is no YAML: {error.problem or error.context}", unreadable)
    except yaml.YAMLError as error:
        problems.add(file, 1, f"is no YAML: {str(error).splitlines()[0]}", unreadable)
    else:
        if root is not None:
            return _Reader(file, schema, problems).read(root, schema, str(schema["title"]), 0)
        problems.add(file, 1, "is empty", unreadable)
    problems.stop_if_any()
    raise AssertionError


class _Reader:
    def __init__(self, file: str, schema: Schema, problems: Problems) -> None:
        self._file = file
        self._schema = schema
        self._problems = problems
        self._nodes = 0

    def read(self, node: yaml.Node, schema: Schema, what: str, depth: int) -> Node:
        """Convert a node; `what` names it in messages."""
        schema = self._resolved(schema)
        self._count(node, depth)
        kind = schema.get("type")
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
            return Node(_line(node), None)
        if kind == "object":
            return self._mapping(node, schema, str(schema.get("title", what)), depth)
        if kind == "array":
            return self._sequence(node, schema, what, depth)
        return self._scalar(node, schema, what)

    def _count(self, node: yaml.Node, depth: int) -> None:
        self._nodes += 1
        if depth > _DEEPEST or self._nodes > _MOST_NODES:
            self._wrong(node, "is nested too deeply, or has too many aliases", "manifest-unreadable")
            self._problems.stop_if_any()

    def _resolved(self, schema: Schema) -> Schema:
        reference = schema.get("$ref")
        if reference is None:
            return schema
        found: Any = self._schema
        for part in str(reference).removeprefix("#/").split("/"):
            found = found[part]
        return dict(found)

    def _wrong(self, node: yaml.Node, message: str, rule: str = "manifest-value") -> None:
        self._problems.add(self._file, _line(node), message, rule)

    def _mapping(self, node: yaml.Node, schema: Schema, what: str, depth: int) -> Node:
        known: Mapping[str, Schema] = schema["properties"]
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, f"{what} must be a mapping{_such_as(known)}")
            return Node(_line(node), {})
        values: dict[str, Node] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in self._pairs(node, depth):
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
            if key not in known:
                self._wrong(key_node, f"unknown key {key!r} in {what}{nearest(key, known)}", "unknown-key")
            elif key in lines:
                self._wrong(key_node, f"{key!r} is given twice in {what}, first in line {lines[key]}")
            else:
                lines[key] = _line(key_node)
                values[key] = self.read(value_node, known[key], repr(key), depth + 1)
        for key in schema.get("required", ()):
            if key not in values or values[key].value in (None, ""):
                name = values.get("name")
                named = f"{what} {name.value!r}" if name is not None and name.value else what
                self._wrong(node, f"{named} has no {key!r}")
        return Node(_line(node), values, lines)

    def _pairs(self, node: yaml.MappingNode, depth: int) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """Yield keys and values, those of merged mappings (`<<`) too; a mapping's own keys win."""
        self._count(node, depth)
        own: list[tuple[yaml.Node, yaml.Node]] = []
        merged: list[tuple[yaml.Node, yaml.Node]] = []
        for key, value in node.value:
            (merged if key.tag == "tag:yaml.org,2002:merge" else own).append((key, value))
        yield from own
        seen = {key.value for key, _ in own if isinstance(key, yaml.ScalarNode)}
        for _, value in merged:
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(source, yaml.MappingNode):
                    self._wrong(value, "only mappings can be merged")
                    continue
                for key, inner in self._pairs(source, depth + 1):
                    if key.value not in seen:
                        seen.add(key.value)
                        yield key, inner

    def _sequence(self, node: yaml.Node, schema: Schema, what: str, depth: int) -> Node:
        if not isinstance(node, yaml.SequenceNode):
            self._wrong(node, f"{what} must be a list, each item after a dash")
            return Node(_line(node), [])
        inner = self._resolved(schema["items"])
        items = [self.read(item, inner, str(inner.get("title", what)), depth + 1) for item in node.value]
        return Node(_line(node), items)

    def _scalar(self, node: yaml.Node, schema: Schema, what: str) -> Node:
        if not isinstance(node, yaml.ScalarNode):
            self._wrong(node, f"{what} must be a single value")
            return Node(_line(node), None)
        value = self._value(node, schema, what)
        text = str(node.value)
        if "enum" in schema and text not in schema["enum"]:
            allowed = ", ".join(schema["enum"])
            self._wrong(node, f"{what} must be one of {allowed}, not {text[:100]!r}")
        elif "pattern" in schema and not re.search(schema["pattern"], text):
            self._wrong(node, f"{what} must be {schema['x-hint']}, not {text[:100]!r}", "malformed-name")
        elif len(text) > schema.get("maxLength", LONGEST):
            self._wrong(node, f"{what} has {len(text)} characters; {schema['maxLength']} are allowed")
        return Node(_line(node), value)

    def _value(self, node: yaml.ScalarNode, schema: Schema, what: str) -> Scalar:
        text = str(node.value)
        if schema["type"] == "boolean":
            if node.tag == "tag:yaml.org,2002:bool":
                return text.lower() in {"true", "yes", "on"}
            self._wrong(node, f"{what} must be true or false, not {text[:100]!r}")
            return None
        if schema["type"] == "integer":
            least, most = schema["minimum"], schema.get("maximum", 999_999_999)
            if re.fullmatch(r"[0-9]{1,9}", text) and least <= int(text) <= most:
                return int(text)
            self._wrong(node, f"{what} must be a whole number from {least} to {most}, not {text[:100]!r}")
            return None
        return text


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _such_as(known: Mapping[str, object]) -> str:
    return f", such as `{next(iter(known))}: …`" if known else ""
