"""The newest of a long list, without reading all of it."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninelives_server.model.sessions import Print
from ninelives_server.web import tails
from ninelives_server.web.tails import Tail

AT = datetime(2026, 11, 23, tzinfo=UTC)


class Journal:
    """Items at some places of a journal; the other places belong to somebody else."""

    def __init__(self, places: Sequence[int]) -> None:
        self.items = [Print(seq=place, at=AT, text=str(place), level="print") for place in places]
        self.read: list[int] = []

    async def fetch(self, after: int, limit: int) -> Sequence[Print]:
        found = [item for item in self.items if item.seq > after][:limit]
        self.read.append(len(found))
        return found


async def test_a_short_list_is_read_once_and_whole():
    """
    The common case costs one read.
    """
    journal = Journal(range(1, 6))

    found = await Tail(journal.fetch, 10).read()

    assert [item.seq for item in found] == [1, 2, 3, 4, 5]
    assert journal.read == [5]


async def test_the_end_of_a_huge_list_is_found_without_reading_it():
    """
    A hundred thousand prints cost about as much as a few thousand.
    """
    journal = Journal(range(1, 100_001))
    tail = Tail(journal.fetch, 500)

    found = await tail.read()

    assert [item.seq for item in found] == list(range(99_501, 100_001))
    assert tail.after == 99_500
    assert sum(journal.read) < 4_000


async def test_the_next_read_goes_on_where_the_last_one_was():
    """
    A live page reads what is new, not everything again.
    """
    journal = Journal(range(1, 5_001))
    tail = Tail(journal.fetch, 100)
    await tail.read()
    journal.read.clear()
    journal.items.append(Print(seq=5_001, at=AT, text="new", level="print"))

    found = await tail.read()

    assert found[-1].text == "new"
    assert len(found) == 100
    assert journal.read == [101]


@given(places=st.sets(st.integers(1, 300), max_size=120), size=st.integers(1, 20), chunk=st.integers(2, 12))
async def test_it_is_always_the_newest_ones_in_order(places: set[int], size: int, chunk: int):
    """
    Whatever lies between them, and however long the list is.
    """
    journal = Journal(sorted(places))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tails, "CHUNK", chunk)
        found = await Tail(journal.fetch, size).read()

    assert [item.seq for item in found] == sorted(places)[-size:]
