"""The chaos run's verdict can fail: each thing that must not be is found."""

import pytest
from ledger import Ledger
from verdict import Verdict, _judge_steps, table


@pytest.fixture
def ledger():
    """Step 0 of `sync-1` arrived once, step 1 twice."""
    found = Ledger(0.0)
    for step in ("sync-1/0", "sync-1/1", "sync-1/1"):
        found.enter(step)
    return found


@pytest.mark.parametrize(
    ("answers", "wrong"),
    [
        ({"0": 1, "1": 3}, ""),
        ({"0": 1, "1": 2}, "executed again"),
        ({"0": 1}, "not 2"),
        ({"0": 1, "1": 9}, "never said"),
    ],
)
def test_a_step_is_judged_by_the_answer_that_its_session_went_on_with(ledger, answers, wrong):
    """
    A request before that answer was in flight when something died; one after it is a completed step executed
    again.
    """
    verdict = Verdict()

    _judge_steps(verdict, answers, ledger, "sync-1", "sync", 2)

    assert [wrong in line for line in verdict.wrong] == ([True] if wrong else [])


def test_the_table_has_a_row_for_each_kind_and_the_sum():
    """
    Its last row is what a person looks at first.
    """
    verdict = Verdict()
    verdict.count("sync", expected=2, sessions=2, completed=2, steps=24)
    verdict.count("lead", expected=1, sessions=1, completed=1, steps=2)

    rows = [line.split() for line in table(verdict).splitlines()]

    assert [row[0] for row in rows] == ["kind", "lead", "sync", "all"]
    assert rows[-1][1:4] == ["3", "3", "3"]
