"""The guide for those who come from AutoKitteh is complete, and what it claims is tested."""

import re
from pathlib import Path

import pytest

from ninelives_server.integrations.registry import Registry

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guides/coming-from-autokitteh.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \| (.*?) \|$", GUIDE, flags=re.MULTILINE)


def test_every_line_is_there_once():
    """All behaviours that the original's tests assert, in order."""
    assert [int(number) for number, *_ in LINES] == list(range(1, 80))


@pytest.mark.parametrize(("number", "behaviour", "verdict", "test"), LINES)
def test_a_line_says_how_and_by_what_it_is_shown(number: str, behaviour: str, verdict: str, test: str):
    """Same, better and how, or left out and why; the test that it names exists."""
    assert behaviour
    assert verdict == "same" or re.fullmatch(r"(better|left out) \(.{10,}\)", verdict), verdict
    if verdict.startswith("left out"):
        return
    file, _, name = test.strip("`").partition("::")
    path = ROOT / file if "/" in file else ROOT / "tests/compat" / file
    source = path.read_text(encoding="utf-8")
    assert not name or re.search(rf"def {name}\(", source), test


def test_all_helpers_are_listed_with_integrations_that_exist():
    """Each module of the SDK with a helper, and the names that a manifest uses."""
    import autokitteh

    rows = re.findall(r"^\| `(\w+)`(?: \(\w+\))? \| (.+?) \| .+? \|$", GUIDE, flags=re.MULTILINE)
    modules = {module for module, _ in rows}
    plain = {
        "activities",
        "attr_dict",
        "connections",
        "errors",
        "event",
        "events",
        "oauth2_session",
        "outcomes",
    }
    plain |= {"packages", "signals", "store", "triggers", "slack_test", "__init__"}
    there = {path.stem for path in Path(autokitteh.__file__).parent.glob("*.py")} - plain
    known = Registry.load().names()

    assert modules == there
    assert all(name in known for _, names in rows for name in re.findall(r"`(\w+)`", names))


def test_the_divergences_are_all_there():
    """Each row says what the original does, what is done here, and how that is meant."""
    start = GUIDE.index("## What differs on purpose")
    rows = [
        line
        for line in GUIDE[start : GUIDE.index("## Connection helpers")].splitlines()
        if line.startswith("| ")
    ]

    assert len(rows) == 1 + 15
    assert all(row.count(" | ") == 2 for row in rows)
