"""`run.limits`: an error that a limit has caused says who can raise the limit, and where."""

import errno
import json
import resource
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from ninelives.run import limits
from ninelives.run.output import Room

SETTING = "NINELIVES_LIMITS__MEMORY_MB"
ASK = f"ask whoever runs it to raise {SETTING}"


LOCKED = "no manifest may raise it on this server (NINELIVES_LIMITS__LOCKED)"
FREE = "raise it in the manifest (project: limits: memory_mb)"


@pytest.mark.parametrize(
    ("limit", "ceiling", "way"),
    [
        (128, 0, f"{FREE} or for the whole server ({SETTING})"),
        (256, 256, f"{LOCKED}; {ASK}"),
        (128, 256, f"{FREE} to at most 256, which is all that this server allows; for more {ASK}"),
    ],
)
def test_the_way_out_is_one_that_is_open(limit: int, ceiling: int, way: str):
    """
    A manifest that asks for more than a locked server gives changes nothing.
    """
    error = MemoryError()

    limits.explain(error, {"memory_mb": limit}, {"memory_mb": ceiling} if ceiling else {})

    assert error.__notes__ == [f"the session has reached its memory limit of {limit} MB; {way}"]


def test_two_limits_that_may_have_been_reached_have_a_way_out_each(monkeypatch: pytest.MonkeyPatch):
    """
    Where threads are refused, one of them may be open to the manifest and the other not.
    """
    monkeypatch.setattr(limits, "_tasks", lambda: 0)
    monkeypatch.setattr(limits, "_has_room", lambda: True)
    error = RuntimeError("can't start new thread")

    limits.explain(error, {"processes": 64, "memory_mb": 128}, {"memory_mb": 128})

    [note] = error.__notes__
    assert "in the manifest (project: limits: processes) or for the whole server" in note
    assert ASK in note


def test_what_cuts_the_output_names_the_open_way_too():
    """
    It is printed where the output ends.
    """
    room = Room(1, 0, {"output_mb": 1})

    kept = room.fit(b"x" * 1_200_000)

    assert b"ask whoever runs it to raise NINELIVES_LIMITS__OUTPUT_MB" in kept


# --- which limit an error comes from ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "limit", "what"),
    [
        ("memory_mb", 128, "its memory limit of 128 MB"),
        ("cpu_seconds", 5, "its limit of 5 s of CPU time"),
        ("wall_seconds", 60, "its limit of 60 s from start to end"),
        ("open_files", 64, "its limit of 64 open files"),
        ("processes", 8, "its limit of 8 processes and threads"),
        ("output_mb", 1, "its limit of 1 MB of output"),
        ("later_mb", 3, "its limit later_mb of 3"),
    ],
)
def test_every_limit_is_named_with_its_value_and_its_setting(name: str, limit: int, what: str):
    """
    One that a newer server has, and this runtime does not know, is named all the same.
    """
    said = limits.words(name, limit, {})

    assert said.startswith(f"the session has reached {what}; raise it in the manifest")
    assert f"(project: limits: {name})" in said
    assert said.endswith(f"(NINELIVES_LIMITS__{name.upper()})")


def _notes(error: BaseException, **allowed: int) -> list[str]:
    limits.explain(error, allowed, {})
    return getattr(error, "__notes__", [])


def test_too_many_open_files_are_explained_wherever_a_library_met_them():
    """
    The cause of an error, and what was being handled, count; errors of other numbers do not.
    """
    full = OSError(errno.EMFILE, "Too many open files")
    caused = ConnectionError("no connection")
    caused.__cause__ = full
    meanwhile = ValueError("while that was handled")
    meanwhile.__context__ = caused

    assert ["64 open files" in note for note in _notes(full, open_files=64)] == [True]
    assert ["64 open files" in note for note in _notes(meanwhile, open_files=64)] == [True]
    assert _notes(OSError(errno.ENFILE, "of the whole machine"), open_files=64) == []
    assert _notes(OSError(errno.EMFILE, "no limit of ours"), open_files=0) == []


def test_causes_are_looked_through_to_a_depth():
    """
    Errors may be linked in a circle.
    """
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first

    assert _notes(first, memory_mb=128, open_files=64, processes=8) == []


@pytest.mark.parametrize(("tasks", "is_reached"), [(8, True), (7, False), (0, False)])
def test_a_refused_fork_comes_from_the_limit_where_that_many_are_there(
    monkeypatch: pytest.MonkeyPatch, tasks: int, is_reached: bool
):
    """
    A socket that has nothing to read raises the same error.
    """
    monkeypatch.setattr(limits, "_tasks", lambda: tasks)

    found = _notes(BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), processes=8)

    assert ["8 processes and threads" in note for note in found] == ([True] if is_reached else [])


def test_a_thread_that_has_no_room_names_the_memory_limit(monkeypatch: pytest.MonkeyPatch):
    """
    A thread's stack counts as memory, used or not.
    """
    monkeypatch.setattr(limits, "_has_room", lambda: False)

    [note] = _notes(RuntimeError("can't start new thread"), memory_mb=128)

    assert note.startswith("the session has reached its memory limit of 128 MB")


def test_a_thread_that_nothing_of_ours_refused_is_not_explained():
    """
    Without limits there is no way out to name.
    """
    assert _notes(RuntimeError("can't start new thread")) == []
    assert _notes(RuntimeError("another"), memory_mb=128, processes=8) == []
    assert _notes(MemoryError(), memory_mb=0) == []


def test_threads_that_have_ended_meanwhile_name_the_stack_where_memory_may_be_it(
    monkeypatch: pytest.MonkeyPatch,
):
    """
    Only one limit is named where only one is set.
    """
    monkeypatch.setattr(limits, "_tasks", lambda: 0)
    monkeypatch.setattr(limits, "_has_room", lambda: True)
    monkeypatch.setattr(
        resource, "getrlimit", lambda _which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )

    [memory] = _notes(RuntimeError("can't start new thread"), memory_mb=128)
    [processes] = _notes(RuntimeError("can't start new thread"), processes=8)

    assert "its memory limit of 128 MB (a thread's stack takes 8 MB);" in memory
    assert "8 processes" not in memory
    assert processes.startswith("the session had reached its limit of 8 processes and threads; raise it")


# --- what a process really gets --------------------------------------------------------------------------

_RESTRICTED = """
import json, resource, sys, threading
from ninelives.run import limits
allowed = json.loads(sys.argv[1])
limits.restrict(allowed)
limits.restrict_processes(allowed)
"""


def _restricted(code: str, **allowed: int) -> Any:
    """Return what a process of its own prints under limits."""
    program = [sys.executable, "-c", _RESTRICTED + textwrap.dedent(code), json.dumps(allowed)]
    done = subprocess.run(program, check=True, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


def test_memory_beyond_the_limit_is_refused_and_the_reserve_lets_it_be_said():
    """
    What the process had before does not count; after `ease` there is room for the report.
    """
    code = """
    found = []
    for ease in (False, True):
        if ease:
            limits.ease()
        try:
            found.append(len(bytearray(70 * limits.MB)))
        except MemoryError as error:
            limits.explain(error, allowed, {})
            found.append(error.__notes__[0].partition(";")[0])
    print(json.dumps(found))
    """

    assert _restricted(code, memory_mb=32) == [
        "the session has reached its memory limit of 32 MB",
        70 * limits.MB,
    ]


def test_a_thread_in_full_memory_finds_the_limit_itself():
    """
    Its stack is what has no room, and the threads that are there take it.
    """
    code = """
    gate = threading.Event()
    try:
        for _ in range(64):
            threading.Thread(target=gate.wait, daemon=True).start()
    except RuntimeError as error:
        limits.explain(error, allowed, {})
        print(json.dumps(error.__notes__[0].partition(";")[0]))
    gate.set()
    """

    assert _restricted(code, memory_mb=64) == "the session has reached its memory limit of 64 MB"


def test_files_processes_and_core_dumps_are_limited_by_the_kernel():
    """
    One process more than the limit: the session's own does not count.
    """
    code = """
    names = ("NOFILE", "NPROC", "CORE")
    print(json.dumps([resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in names]))
    """
    hard = resource.getrlimit(resource.RLIMIT_NPROC)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert _restricted(code, open_files=77, processes=200) == [[77, 77], [201, 201], [0, 0]]
    assert _restricted(code, open_files=0, processes=0) == [list(soft), list(hard), [0, 0]]


def test_a_limit_of_files_above_the_kernels_is_the_kernels():
    """
    Nobody may raise the hard limit; that is no reason not to start.
    """
    code = """
    print(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        pytest.skip("the kernel sets no limit here")

    assert _restricted(code, open_files=hard + 1000) == [hard, hard]
