"""Digests: the same call has the same digest, another call another one, in any process."""

import datetime as dt
import decimal
import enum
import subprocess
import sys
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninelives.run import digest, semantics
from ninelives.run.digest import Digests, TooLarge
from ninelives.run.masking import Masks

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(max_size=20),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=5), inner, max_size=4),
        st.frozensets(SCALARS, max_size=4),
    ),
    max_leaves=12,
)
DIGESTS = Digests()


def exactly(value):
    """Return a form in which only what is really the same is equal."""
    if isinstance(value, dict):
        return ("dict", [(exactly(k), exactly(v)) for k, v in value.items()])
    if isinstance(value, frozenset):
        return ("set", sorted(repr(exactly(item)) for item in value))
    if isinstance(value, list | tuple):
        return (type(value).__name__, [exactly(item) for item in value])
    return (type(value).__name__, repr(value))


#: Beginnings of digests, by semantics version.
PINNED = {
    1: [
        (None, "8ce86a6ae65d3692"),
        (True, "e632b7095b0bf32c"),
        (1, "cc7130013527ac2a"),
        (-1.5, "16d75207134eb689"),
        ("text ä", "7592e6993b48645d"),
        (b"bytes", "073d2503157762cf"),
        ([1, [2]], "e09d41739c15bc34"),
        ((1,), "06986fa3d158cef9"),
        ({"a": 1, "b": [None]}, "0f8879fc35d6d31f"),
        ({3, 1, 2}, "7b1d1f2de5dbc8c2"),
        (dt.date(2026, 1, 2), "252063da66188219"),
        (decimal.Decimal("1.50"), "43808f453f0530ac"),
        (uuid.UUID(int=5), "e7c8ab116b2fdd12"),
    ]
}


@pytest.fixture
def rules(request: pytest.FixtureRequest) -> Iterator[None]:
    """Go by the rules of a version."""
    semantics.keep_to(request.param)
    yield
    semantics.keep_to(semantics.CURRENT)


@pytest.mark.parametrize(
    ("rules", "value", "expected"),
    [(version, *pinned) for version in sorted(semantics.CARRIED) for pinned in PINNED[version]],
    indirect=["rules"],
)
def test_digests_are_those_of_the_semantics_version(rules: None, value: object, expected: str):
    """A session that waits for months is compared with what this wrote then: another digest is a new version."""
    assert DIGESTS.of_value(value).hex().startswith(expected)


def test_the_digest_of_a_call_is_that_of_the_semantics_version():
    """Name, positions and keywords go into it in one fixed way."""
    call = DIGESTS.of_call("requests.post", ("https://x",), {"json": {"a": 1}})

    assert call.hex().startswith("ac5ae11fdb3f2539")


@given(VALUES, VALUES)
def test_only_the_same_value_has_the_same_digest(one, other):
    """Types count, the order of dictionaries counts, that of sets does not."""
    same = exactly(one) == exactly(other)

    assert (DIGESTS.of_value(one) == DIGESTS.of_value(other)) is same


@given(st.lists(SCALARS, max_size=3), st.dictionaries(st.text(min_size=1, max_size=3), SCALARS, max_size=2))
def test_where_an_argument_stands_counts(args, kwargs):
    """A positional argument is no keyword, and a name is part of the call."""
    call = DIGESTS.of_call("f", tuple(args), kwargs)

    assert call != DIGESTS.of_call("g", tuple(args), kwargs)
    assert call != DIGESTS.of_call("f", (*args, None), kwargs)
    assert call == DIGESTS.of_call("f", tuple(args), dict(kwargs))


class Colour(enum.Enum):
    RED = 1


class Mine:
    def __init__(self, x):
        self.x = x


class Theirs:
    def __init__(self, x):
        self.x = x


def test_values_of_many_types_have_forms():
    """Each differs from the others, and equals a new one of its kind."""
    make = [
        lambda: dt.datetime(2026, 1, 2, tzinfo=dt.UTC), lambda: dt.datetime(2026, 1, 2), lambda: dt.date(2026, 1, 2),
        lambda: dt.timedelta(days=1), lambda: decimal.Decimal("1.0"), lambda: decimal.Decimal("1.00"),
        lambda: uuid.UUID(int=1), lambda: Colour.RED, lambda: 1, lambda: True, lambda: 1.0, lambda: 1j, lambda: b"1",
        lambda: bytearray(b"12"), lambda: "1", lambda: range(3), lambda: slice(1, 2), lambda: Path("/x"), lambda: len,
        lambda: Mine, lambda: [1], lambda: (1,), lambda: {1}, lambda: OrderedDict(a=1), lambda: {"a": 1},
    ]  # fmt: skip

    first = [DIGESTS.of_value(new()) for new in make]
    second = [DIGESTS.of_value(new()) for new in make]

    assert first == second
    assert len(set(first)) == len(make)


def test_only_objects_of_the_project_count_with_their_attributes():
    """Another library's object is its type's name: it may hold anything."""
    digests = Digests(has_fields=lambda cls: cls is Mine)

    assert digests.of_value(Mine(1)) != digests.of_value(Mine(2))
    assert digests.of_value(Theirs(1)) == digests.of_value(Theirs(2))


def test_a_hint_tells_objects_of_a_library_apart():
    """Such as the name of the kind of record that a Salesforce object is about."""
    digests = Digests(hints={digest.type_name(Theirs): ["x"]})

    assert digests.of_value(Theirs(1)) != digests.of_value(Theirs(2))


def test_a_secret_counts_as_its_name():
    """So a newer token makes no other call."""
    old = Digests(Masks(["old-token"], {"old-token": "T"}))
    new = Digests(Masks(["new-token"], {"new-token": "T"}))

    assert old.of_value({"a": "Bearer old-token"}) == new.of_value({"a": "Bearer new-token"})
    assert old.of_value({"a": "Bearer new-token"}) != new.of_value({"a": "Bearer new-token"})


def test_a_value_inside_itself_has_a_digest():
    """Cycles end, and two of the same shape are the same."""

    def cycle():
        made = [1]
        made.append({"back": made})
        return made

    assert DIGESTS.of_value(cycle()) == DIGESTS.of_value(cycle())


def test_a_large_value_is_given_up_where_a_limit_is_set():
    """Comparing arguments before and after a step costs no more than that."""
    with pytest.raises(TooLarge):
        DIGESTS.of_value(["x" * 100] * 100, limit=1000)


def test_the_order_of_sets_depends_on_no_hash_seed():
    """Two processes with different seeds make the same digest."""
    program = (
        "from ninelives.run.digest import Digests\n"
        "print(Digests().of_value({'a', 'b', 'c', frozenset({'d', 'e'}), 1}).hex())\n"
    )
    src = str(Path(digest.__file__).parents[2])

    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": src},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(found) == 1
