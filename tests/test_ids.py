"""Ids: their form, their order, and how much of them is chance."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from ninelives_server import ids


def number_of(text: str) -> int:
    """Read Crockford's base 32."""
    number = 0
    for character in text:
        number = number * 32 + ids.ALPHABET.index(character)
    return number


@given(st.binary(min_size=16, max_size=16))
def test_an_id_is_its_number_in_base_32(digest):
    """
    All 128 bits are there, and the text sorts as the number does.
    """
    found = ids.derived("ses", digest)

    assert ids.is_id(found, "ses")
    assert number_of(found.removeprefix("ses_")) == int.from_bytes(digest, "big")


def test_an_id_sorts_by_its_time_and_is_a_uuid_of_version_7():
    """
    RFC 9562, section 5.7; nothing made at a time or later comes before the least id of that time.
    """
    number = number_of(ids.new("evt").removeprefix("evt_"))
    made = datetime.fromtimestamp((number >> 80) / 1000, UTC)

    assert ((number >> 76) & 0xF, (number >> 62) & 0b11) == (7, 0b10)
    assert abs((datetime.now(UTC) - made).total_seconds()) < 60
    assert ids.earliest("evt", made) <= f"evt_{ids.new('x').removeprefix('x_')}"


def test_ids_that_are_made_together_ascend_and_are_of_the_same_form():
    """
    Each is a UUID of version 7 of now; no two are alike, and their order is that of the list.
    """
    found = ids.several("evt", 500)
    numbers = [number_of(text.removeprefix("evt_")) for text in found]
    made = [datetime.fromtimestamp((number >> 80) / 1000, UTC) for number in numbers]

    assert all(ids.is_id(text, "evt") for text in found)
    assert found == sorted(set(found))
    assert {((number >> 76) & 0xF, (number >> 62) & 0b11) for number in numbers} == {(7, 0b10)}
    assert all(abs((datetime.now(UTC) - at).total_seconds()) < 60 for at in made)
    assert ids.several("evt", 0) == []


def test_slugs_are_long_and_all_different():
    """
    160 bits in 32 characters of an alphabet that goes into any address.
    """
    found = {ids.new_slug() for _ in range(2000)}

    assert len(found) == 2000
    assert {len(slug) for slug in found} == {32}
    assert set("".join(found)) == set(ids.ALPHABET)
