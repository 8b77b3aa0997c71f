"""What a check's process says goes over the worker's link; `tests/system/test_control.py` has real checks."""

import json
from pathlib import Path

import pytest

from ninelives_server.worker import checks
from ninelives_server.worker.zygotes import End


@pytest.mark.parametrize(
    "value", ["half \ud83d", "x" * 10_000, 1 << 70, float("nan"), [["a"] * 99] * 99, {"a": {"b": "c"}}, True]
)
def test_a_verdict_is_short_text_whatever_project_code_writes(value: object) -> None:
    """The server's parser must take it: the link is that of all sessions."""
    said = checks._bounded(value)

    assert isinstance(said, str)
    assert len(json.dumps(said, ensure_ascii=False).encode()) < 20_000


@pytest.mark.parametrize("value", [None, 0, 17, "main.py", "längere Wörter"])
def test_what_a_verdict_says_is_passed_on(value: object) -> None:
    """Places in the code, and words."""
    assert checks._bounded(value) == value


LIMIT = {"name": "cpu_seconds", "limit": 3, "used": 3.1}
DUMP = """Current thread 0x00007fc8fefe1b80 (most recent call first):
  File "/data/builds/76a1/main.py", line 8 in go
  File "/data/sdk/cba1/ninelives/run/main.py", line 217 in _call
"""


@pytest.mark.parametrize(
    ("end", "text", "message"),
    [
        (End(None, 9, limit=LIMIT), DUMP, "within its cpu_seconds, 3; it stood at main.py:8, in go"),
        (End(None, 9, limit={**LIMIT, "name": "wall_seconds"}), "", "the journal ends within 60 s"),
        (End(3, None), "", "the process ended before its journal did: exit code 3"),
        (End(None, 11), "last words\n", "before its journal did: signal 11\nlast words"),
        (End(None, None, "no room"), "", "the process ended before its journal did: no room"),
    ],
    ids=["loop", "slow", "exit", "signal", "never began"],
)
def test_code_that_never_comes_to_the_end_of_the_journal_says_why(end: End, text: str, message: str) -> None:
    """What happened, and where in the code; not where it stood in ours."""
    assert checks._unfinished(end, text, Path("/data/builds/76a1")).endswith(message)
