"""Errors that hold others, as people see them: everything that went wrong is there."""

import traceback

import pytest

from ninelives.run import tracebacks


def fail(error: BaseException) -> None:
    raise error


def caught(error: BaseException) -> BaseException:
    try:
        fail(error)
    except BaseException as found:
        return found
    raise AssertionError


def of_kind(kind: str) -> BaseException:
    reason = caught(ValueError("the reason"))
    match kind:
        case "one":
            return caught(ExceptionGroup("unhandled", [reason]))
        case "two":
            return caught(ExceptionGroup("unhandled", [reason, TypeError("two\nlines")]))
        case "not raised":
            return ExceptionGroup("outer", [ExceptionGroup("inner", [OSError(2, "gone")]), KeyError("k")])
        case "nested last":
            return caught(ExceptionGroup("outer", [reason, caught(ExceptionGroup("inner", [reason]))]))
        case "many":
            return ExceptionGroup("many", [ValueError(n) for n in range(20)])
        case "interrupted":
            return caught(BaseExceptionGroup("all", [KeyboardInterrupt(), reason]))
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["one", "two", "not raised", "nested last", "many", "interrupted"])
def test_a_group_is_shown_as_python_shows_it(kind: str):
    error = of_kind(kind)
    formatter = tracebacks.Formatter("/nowhere", lambda file: file == __file__)

    # Nobody marks with `^^^` where in a line an error came from.
    expected = [line for line in traceback.format_exception(error) if set(line) - set(" |^~\n")]

    shown = formatter.format(error).splitlines()
    assert shown == [line.rstrip("\n") for line in "".join(expected).splitlines() if set(line) - set(" |^~")]


def test_the_reason_of_a_task_group_is_in_the_error_of_a_session(harness, program):
    made = program(
        """
        import asyncio

        async def bad():
            raise ValueError("the reason")

        async def go():
            async with asyncio.TaskGroup() as group:
                group.create_task(bad())

        def main(event):
            asyncio.run(go())
        """
    )

    shown = harness.run(made).error["traceback"]

    assert "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)" in shown
    assert '    |   File "main.py", line 5, in bad' in shown
    assert "    | ValueError: the reason" in shown
