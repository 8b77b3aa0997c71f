"""Group commit: who is worked on with whom, and who hears what."""

import asyncio
from collections.abc import Sequence

import pytest

from ninelives_server.errors import DatabaseAway, Invalid
from ninelives_server.events.grouped import Grouped


class Bench:
    """Work whose units are seen, and held up until a test lets them go."""

    def __init__(self, *, largest: int = 10) -> None:
        self.units: list[list[int]] = []
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.double = Grouped(self._work, largest=largest)

    async def _work(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.units.append(list(items))
        self.begun.set()
        await self.go.wait()
        if 13 in items:
            raise ZeroDivisionError
        if 99 in items:
            raise DatabaseAway("away")
        return [Invalid("odd") if item % 2 else item * 2 for item in items]


async def test_who_comes_alone_is_worked_on_at_once():
    """
    Nobody waits for company.
    """
    bench = Bench()

    assert [await bench.double(2), await bench.double(4)] == [4, 8]
    assert bench.units == [[2], [4]]


async def test_what_arrives_meanwhile_is_the_next_unit():
    """
    In the order in which it came, and no unit is larger than it may be.
    """
    bench = Bench(largest=3)
    bench.go.clear()
    first = asyncio.create_task(bench.double(2))
    await bench.begun.wait()
    others = [asyncio.create_task(bench.double(n)) for n in (4, 6, 8, 10)]
    await asyncio.sleep(0)
    bench.go.set()

    assert await asyncio.gather(first, *others) == [4, 8, 12, 16, 20]
    assert bench.units == [[2], [4, 6, 8], [10]]


async def test_what_is_on_its_way_already_comes_along():
    """
    A request that lies at its socket when a unit begins is a part of it, a few rounds of the loop later.
    """
    bench = Bench()

    async def reads_and_asks(number: int) -> int:
        await asyncio.sleep(0)
        return await bench.double(number)

    assert await asyncio.gather(bench.double(2), reads_and_asks(4), reads_and_asks(6)) == [4, 8, 12]
    assert bench.units == [[2, 4, 6]]


async def test_an_item_that_is_refused_fails_nobody_else():
    """
    The work says of each what became of it.
    """
    bench = Bench()

    found = await asyncio.gather(*map(bench.double, (2, 3, 4)), return_exceptions=True)

    assert (found[0], found[2]) == (4, 8)
    assert isinstance(found[1], Invalid)
    assert bench.units == [[2, 3, 4]]


async def test_where_a_unit_fails_each_item_is_tried_by_itself():
    """
    Only the one that broke it hears of it.
    """
    bench = Bench()

    found = await asyncio.gather(*map(bench.double, (2, 13, 4)), return_exceptions=True)

    assert (found[0], found[2]) == (4, 8)
    assert isinstance(found[1], ZeroDivisionError)
    assert bench.units == [[2, 13, 4], [2], [13], [4]]


async def test_a_database_that_is_away_is_not_asked_again_for_each():
    """
    All hear of it at once, so that they can try again later.
    """
    bench = Bench()

    found = await asyncio.gather(*map(bench.double, (2, 99)), return_exceptions=True)

    assert [type(one) for one in found] == [DatabaseAway, DatabaseAway]
    assert bench.units == [[2, 99]]


async def test_a_caller_that_leaves_takes_nobody_along():
    """
    What it asked for is done, and the others get their answers.
    """
    bench = Bench()
    bench.go.clear()
    leaves, stays = (asyncio.create_task(bench.double(n)) for n in (2, 4))
    await bench.begun.wait()

    leaves.cancel()
    bench.go.set()

    assert await stays == 8
    with pytest.raises(asyncio.CancelledError):
        await leaves
    assert bench.units == [[2, 4]]
    assert await bench.double(6) == 12
