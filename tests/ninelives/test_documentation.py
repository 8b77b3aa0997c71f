"""The SDK's pages say what the code has."""

import re
import runpy
from pathlib import Path

import ninelives
from ninelives import errors

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


def test_every_name_of_the_sdk_is_described():
    """Functions, classes and errors, each under its name."""
    page = (REFERENCE / "sdk.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:@?ninelives\.)?(\w+)", page))

    assert sorted(set(ninelives.__all__) - named) == []
    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    public = {name for name, value in classes.items() if value.__module__ == errors.__name__}
    assert sorted(public - named) == []


def test_the_call_table_is_shown_as_it_is():
    """`python tools/call_table.py` writes the page."""
    tool = runpy.run_path(str(ROOT / "tools" / "call_table.py"))

    assert (REFERENCE / "call-table.md").read_text(encoding="utf-8") == tool["page"]()
