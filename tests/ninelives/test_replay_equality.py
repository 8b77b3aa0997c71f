"""Replay equality: a program that is killed after each of its records ends as if nothing had happened.

Each file in `programs/`, or directory with a `main.py`, is a session. Its process is killed after its first record, a new one goes on to the end, and
prints, result and what was done to the world outside are compared with an undisturbed run; then the same with the
second record, and so on. Completed steps are never executed twice.

`make equality` does it for each *pair* of records: the second process is killed as well.
"""

import os
import shutil
from pathlib import Path

import pytest
from outside import Outside

from ninelives_server.testing.session_harness import Program

HERE = Path(__file__).parent
PROGRAMS = sorted(
    [path.stem for path in (HERE / "programs").glob("*.py")]
    + [path.parent.name for path in (HERE / "programs").glob("*/main.py")]
)
#: Their iterables are made again after a crash: what was fetched for items that are recorded is fetched again.
READ_AGAIN = {"third_party_iterator"}
#: Twice as many processes die.
IS_LONG = bool(os.environ.get("NINELIVES_TEST_EQUALITY"))


@pytest.fixture
def project(request: pytest.FixtureRequest, outside: Outside, tmp_path: Path) -> Program:
    """The program of this name, as a project of its own."""
    build = tmp_path / "build"
    source = HERE / "programs" / request.param
    if source.is_dir():
        shutil.copytree(source, build)
    else:
        build.mkdir()
        shutil.copy(source.with_suffix(".py"), build / "main.py")
    work = build / ".work"
    work.mkdir()
    data = {"url": outside.url, "dir": str(outside.directory)}
    return Program(build, data=data, answers=outside.answers)


@pytest.mark.parametrize(
    ("project", "name"), [(name, name) for name in PROGRAMS], indirect=["project"], ids=PROGRAMS
)
@pytest.mark.timeout(7200 if IS_LONG else 600)
def test_a_program_that_is_killed_anywhere_ends_as_if_nothing_had_happened(zygote, outside, project, name):
    """Prints, result and effects are those of a run that nobody disturbed."""
    reset = outside.reset
    effects = outside.changes if name in READ_AGAIN else outside.effects

    whole = zygote.crash_everywhere(
        project,
        reset=reset,
        effects=effects,
        is_sequential=not name.startswith(("async", "thread")),
        twice=IS_LONG,
    )

    assert whole.state == ("error" if name == "exceptions" else "completed")
    assert whole.journal.rows


def test_there_are_many_programs():
    """The collection covers the language and the libraries that people use."""
    assert len(PROGRAMS) >= 40
