"""The pages made from the code are those that are committed."""

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)


def test_every_command_is_documented():
    """
    docs/reference/cli.md is what the program says of itself; `make reference` renews it.
    """
    assert (ROOT / "docs/reference/cli.md").read_text() == reference.cli_page()


def test_the_api_document_is_committed():
    """
    docs/reference/openapi.json is what the server serves; `make reference` renews it.
    """
    assert (ROOT / "docs/reference/openapi.json").read_text() == reference.openapi()


def test_the_schema_of_manifests_is_committed():
    """
    docs/reference/ninelives.schema.json is what a manifest is checked against; `make reference` renews it.
    """
    assert (ROOT / "docs/reference/ninelives.schema.json").read_text() == reference.manifest_schema()


def test_the_api_only_grows():
    """
    Whatever docs/reference/openapi-released.json promises is still there: paths, methods, properties.
    """
    released = json.loads((ROOT / "docs/reference/openapi-released.json").read_text())
    now = json.loads(reference.openapi())

    assert missing(released["paths"], now["paths"]) == []
    assert missing(properties(released), properties(now)) == []


def test_a_lost_property_would_be_noticed():
    """
    The comparison can fail.
    """
    assert missing({"a": {"get": {}}}, {"a": {"post": {}}}) == ["a.get"]
    assert missing({"Doc": {"id": {}}}, {"Doc": {}}) == ["Doc.id"]


def properties(document):
    return {name: schema.get("properties", {}) for name, schema in document["components"]["schemas"].items()}


def missing(old, new):
    """Name what the first two levels of `old` have and `new` has not."""
    return [
        f"{outer}.{inner}"
        for outer, things in old.items()
        for inner in things
        if inner not in new.get(outer, {})
    ]
