"""Checks: whether code does what a journal says, without doing anything."""

from collections.abc import Callable
from textwrap import dedent

import pytest

from ninelives_server.testing.session_harness import Harness, Journal, Outcome, Program

OLD = """
    import ninelives, time
    from pathlib import Path

    @ninelives.step
    def fetch(k):
        Path('calls').open('a').write(f'{k} ')
        return k + 1

    def main(event):
        total = fetch(1)
        print('have', total)
        total += fetch(total)
        print('at', time.time() > 0)
        total += fetch(10)
        return total
    """


@pytest.fixture
def checked(harness: Harness, program: Callable[..., Program]) -> Callable[..., Outcome]:
    """Runs the old code until it is killed after some records, then checks new code against its journal."""

    def check(new: str, *, kill_after: int | None = 4, old: str = OLD) -> Outcome:
        made = program(old)
        journal = Journal()
        harness.run(made, journal, kill_after=kill_after)
        before = journal.in_order()
        calls = made.directory / "calls"
        called = calls.read_text() if calls.exists() else ""
        (made.directory / "main.py").write_text(dedent(new), encoding="utf-8")
        made.check = True
        outcome = harness.run(made, journal)
        assert journal.in_order() == before
        assert (calls.read_text() if calls.exists() else "") == called
        return outcome

    return check


def test_the_same_code_is_good_as_far_as_the_journal_goes(checked):
    """
    It ends at the first call that the journal cannot answer; that step is not executed.
    """
    outcome = checked(OLD)

    assert outcome.state == "check: ok"


def test_another_print_and_what_comes_later_are_no_divergence(checked):
    """
    Logs have keys of their own, and what has not happened yet may change.
    """
    new = OLD.replace("print('have', total)", "print('now', total); print('more')").replace("fetch(10)", "1")

    assert checked(new).state == "check: ok"


def test_another_argument_is_named_with_file_and_line(checked):
    """
    Both sides, the record, and the line of the new code that makes the call.
    """
    outcome = checked(OLD.replace("fetch(total)", "fetch(total + 5)"))

    said = outcome.error
    assert outcome.state == "check: diverged"
    assert (said["seq"], said["recorded"], said["called"]) == (3, "main.fetch", "main.fetch")
    assert (said["file"], said["line"]) == ("main.py", 13)
    assert "called with other arguments" in said["message"]


def test_another_call_is_named_with_both_sides(checked):
    """
    The journal has one thing, the code calls another.
    """
    outcome = checked(OLD.replace("total = fetch(1)", "ninelives.sleep(60); total = fetch(1)"))

    said = outcome.error
    assert outcome.state == "check: diverged"
    assert (said["seq"], said["recorded"]) == (1, "main.fetch")
    assert "sleep" in said["called"]
    assert (said["file"], said["line"]) == ("main.py", 11)


def test_code_that_ends_before_its_journal_diverges(checked):
    """
    It would leave steps out that were done.
    """
    outcome = checked(OLD.replace("total += fetch(total)", "return total"))

    said = outcome.error
    assert outcome.state == "check: diverged"
    assert (said["seq"], said["recorded"], said["called"]) == (3, "main.fetch", None)
    assert "ends without it" in said["message"]


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (OLD.replace("print('have', total)", "print(totl)"), "NameError: name 'totl' is not defined"),
        (OLD.replace("def main", "def other"), "has no main to call"),
        ("def main(event:\n", "SyntaxError"),
    ],
)
def test_code_that_fails_before_the_journal_ends_is_told(checked, new: str, words: str):
    """
    The session would end in an error.
    """
    outcome = checked(new)

    assert outcome.state == "check: failed"
    assert words in outcome.error["message"]


def test_no_live_value_is_made_again(checked):
    """
    A client that was lost with its process stays lost: where it is needed, the check has come to its end.
    """
    old = """
        import ninelives
        from pathlib import Path

        class Client:
            def __init__(self):
                Path('calls').open('a').write('made ')
            def __reduce__(self):
                raise TypeError('no')
            size = property(lambda self: len(Path('calls').read_text()))

        @ninelives.live
        def connect():
            return Client()

        @ninelives.step
        def fetch(k):
            return k

        def main(event):
            client = connect()
            fetch(1)
            return client.size + fetch(2)
        """

    assert checked(old, kill_after=2, old=old).state == "check: ok"


def test_async_code_is_checked_too(checked):
    """
    Steps of tasks are compared in the same way.
    """
    old = """
        import asyncio, ninelives

        @ninelives.step
        async def fetch(k):
            return k

        async def main(event):
            a = await fetch(1)
            b, c = await asyncio.gather(fetch(a + 1), fetch(a + 2))
            return await fetch(a + b + c)
        """

    good = checked(old, kill_after=3, old=old)
    bad = checked(old.replace("fetch(a + 2)", "fetch(a + 3)"), kill_after=3, old=old)

    assert good.state == "check: ok"
    assert bad.state == "check: diverged"
    assert bad.error["line"] == 10
