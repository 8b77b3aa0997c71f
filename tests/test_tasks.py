"""`tasks`: background work that fails is logged and begun again, whatever it fails of."""

import asyncio
from collections.abc import Callable

import pytest

from ninelives_server import tasks

PATIENCE = 20  # seconds


async def _cancelled_elsewhere() -> None:
    """Wait for something that somebody else cancels."""
    waiting = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(waiting.cancel)
    await waiting


async def _defect() -> None:
    raise LookupError("a defect")


async def _several() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(60))
        group.create_task(_defect())


async def _end() -> None:
    return


@pytest.mark.parametrize(
    ("way", "said"),
    [
        (_defect, "task.failed"),
        (_several, "task.failed"),
        (_cancelled_elsewhere, "task.failed"),
        (_end, "task.ended"),
    ],
)
async def test_what_fails_or_ends_is_begun_again_and_says_so(
    way: Callable[[], object], said: str, capsys: pytest.CaptureFixture[str]
):
    """
    An error, one of a group, the cancellation of something that it waited for, or an end that nobody expects.
    """
    times, again = [], asyncio.Event()

    async def run() -> None:
        times.append(1)
        if len(times) == 3:
            again.set()
            await asyncio.sleep(60)
        await way()

    task = asyncio.create_task(tasks.forever("sweeper", run, pause=0.01))
    await asyncio.wait_for(again.wait(), PATIENCE)
    task.cancel()
    await asyncio.wait({task})

    out = capsys.readouterr().out
    assert task.cancelled()
    assert out.count(said) == 2
    assert "sweeper" in out


async def test_what_is_kept_ends_with_its_block():
    """
    And not before it has cleaned up.
    """
    begun, left = asyncio.Event(), []

    async def run() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            left.append(True)

    async with tasks.kept("beside", run):
        await asyncio.wait_for(begun.wait(), PATIENCE)

    assert left == [True]
