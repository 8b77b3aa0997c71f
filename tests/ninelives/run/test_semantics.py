"""A release with a second semantics version: old sessions go on by the old rules, new ones begin with the new."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import ninelives
from ninelives.run import calltable, semantics
from ninelives_server.testing.session_harness import Harness, Journal, Program

OLD, NEW = semantics.CURRENT, semantics.CURRENT + 1
MAIN = """
import colorsys
import ninelives

@ninelives.step
def note(number):
    return number

def main(event):
    first = note(1)
    colour = colorsys.rgb_to_hsv(1, 0, 0)
    return [first, list(colour), note(2)]
"""
RESULT = [1, [0.0, 1.0, 1], 2]

#: What the next release changes: the meaning of a name, and every digest.
CHANGES = {
    "semantics.py": [
        (r"^CURRENT: Final = \d+$", f"CURRENT: Final = {NEW}"),
        (r"^CARRIED: Final = .*$", f"CARRIED: Final = frozenset({{{OLD}, {NEW}}})"),
    ],
    "calltable.py": [
        (r"\Z", f"\nTABLE['colorsys'] = Kind.STEP\nBEFORE[{NEW}] = {{'colorsys': Kind.DIRECT}}\n"),
    ],
    "digest.py": [
        (
            r"hashlib\.sha256\(b\"\"\.join\(self\.out\)\)",
            f"hashlib.sha256((b'' if semantics.is_before({NEW}) else b'new') + b''.join(self.out))",
        ),
        (r"^from ninelives\.run\.masking", "from ninelives.run import semantics\nfrom ninelives.run.masking"),
    ],
}


@pytest.fixture(scope="module")
def next_release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """Processes of a release that differs from this one in what `CHANGES` says."""
    sdk = tmp_path_factory.mktemp("next")
    package = sdk / "ninelives"
    shutil.copytree(Path(ninelives.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, changes in CHANGES.items():
        text = (package / "run" / name).read_text()
        for old, new in changes:
            text, count = re.subn(old, lambda _, new=new: new, text, flags=re.MULTILINE)
            assert count == 1, (name, old)
        (package / "run" / name).write_text(text)
    harness = Harness(sdk=sdk)
    yield harness
    harness.close()


@pytest.fixture
def project(tmp_path: Path) -> Program:
    build = tmp_path / "build"
    build.mkdir()
    (build / "main.py").write_text(MAIN)
    return Program(build)


def names(journal: Journal) -> list[str]:
    return [row.head["name"] for row in journal.in_order() if row.head["track"] == "call"]


def test_a_session_of_the_last_release_goes_on_by_its_rules(
    zygote: Harness, next_release: Harness, project: Program
):
    """Killed after any of its records: what is recorded is known again, and what follows is as it was."""
    whole = zygote.run(project)

    for count in range(1, len(whole.journal.rows)):
        journal = Journal()
        assert zygote.run(project, journal, kill_after=count).state == "killed"
        went_on = next_release.to_the_end(project, journal)
        assert (went_on.state, went_on.result) == ("completed", RESULT), went_on.error
        assert names(journal) == names(whole.journal) == ["main.note", "main.note"]
        assert [row.head["digest"] for row in journal.in_order()] == [
            row.head["digest"] for row in whole.journal.in_order()
        ]


def test_a_new_session_begins_with_the_new_rules(next_release: Harness, project: Program):
    """Beside the old ones, from the same build and with the same compiled code at hand."""
    old = next_release.run(project)
    new = next_release.run(replace(project, semantics=NEW))

    assert names(old.journal) == ["main.note", "main.note"]
    assert names(new.journal) == ["main.note", "colorsys.rgb_to_hsv", "main.note"]
    assert new.result == RESULT


def test_by_other_rules_than_its_own_a_session_diverges(
    zygote: Harness, next_release: Harness, project: Program
):
    """So that the versions matter, and the tests above can fail."""
    journal = Journal()
    zygote.run(project, journal, kill_after=1)

    went_on = next_release.run(replace(project, semantics=NEW), journal)

    assert went_on.error is not None
    assert went_on.error["type"] == "Divergence"


def test_a_process_refuses_rules_that_it_does_not_have():
    """Whatever the server says."""
    with pytest.raises(ValueError, match=f"carries semantics version .*, not {NEW}"):
        semantics.keep_to(NEW)

    assert semantics.version() == OLD


def test_what_changed_in_the_table_differs_from_what_is_there_now():
    """An entry that says the same is a mistake, and so is one of a version that nobody has."""
    for version, before in calltable.BEFORE.items():
        assert min(semantics.CARRIED) < version <= semantics.CURRENT
        assert [name for name, kind in before.items() if calltable.TABLE.get(name) is kind] == []
