"""What a check's process says goes over the worker's link; `tests/system/test_control.py` has real checks."""

import json

import pytest

from ninelives_server.worker import checks


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
