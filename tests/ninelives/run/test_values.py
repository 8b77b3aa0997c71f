"""Masks, previews, records of values and of errors: single rules."""

import copy
import json
import sys
import threading
import types
from collections import Counter, OrderedDict, defaultdict

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninelives.run import changes, failures, tracebacks
from ninelives.run.codec import Codec
from ninelives.run.digest import Digests
from ninelives.run.masking import Masks
from ninelives.run.preview import Previews

PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=30), st.dictionaries(st.text(), inner, max_size=30), st.tuples(inner)
    ),
)


def codec(**names):
    return Codec(Masks(names, dict(names)), lambda _path: False)


# --- masks ----------------------------------------------------------------------------------------------


def test_the_longest_secret_is_masked_first():
    """One may contain another."""
    masks = Masks(["abc", "abcdef"], {"abc": "SHORT", "abcdef": "LONG"})

    assert masks.text("x abcdef abc") == "x [LONG] [SHORT]"


def test_a_secret_learnt_later_is_masked_from_then_on():
    """As a renewed access token is."""
    masks = Masks()
    before = masks.text("tok_1")

    masks.add("tok_1", "T")

    assert (before, masks.text("tok_1"), masks.occur_in(b"..tok_1..")) == ("tok_1", "[T]", True)


def test_json_is_masked_everywhere():
    """Keys, values, to any depth."""
    masks = Masks(["secret"], {"secret": "S"})

    assert masks.everywhere({"secret": [{"a": "x secret"}], "n": 1}) == {"[S]": [{"a": "x [S]"}], "n": 1}


# --- previews -------------------------------------------------------------------------------------------


@given(PLAIN)
def test_a_preview_is_small_json_whatever_the_value(value):
    """People look at it; it never fails and never grows."""
    shown = json.dumps(Previews(Masks()).of_value(value), allow_nan=False)

    assert len(shown) < 40_000


def test_a_preview_of_half_a_surrogate_pair_can_be_sent():
    """Services cut texts in the middle of an emoji, and Python's JSON reads that; a record must not fail of it."""
    cut = json.loads('["\\ud83d", {"\\ud83d": 1}]')
    previews = Previews(Masks())

    shown = [
        previews.of_value(cut),
        previews.of_args((cut,), {"k": cut}),
        previews.of_error(ValueError(cut[0])),
    ]

    assert json.dumps(shown, ensure_ascii=False).encode()
    assert shown[0] == ["\\ud83d", {"\\ud83d": 1}]
    assert shown[2] == "ValueError: \\ud83d"


def test_a_preview_calls_no_code_of_the_value():
    """An object is its class's name: its `repr` may do anything."""

    class Loud:
        def __repr__(self):
            raise AssertionError

        def __iter__(self):
            raise AssertionError

    class Rows(list):
        def __iter__(self):
            raise AssertionError

    previews = Previews(Masks())

    assert previews.of_value(Loud()).startswith("<")
    assert previews.of_value(Rows([1])).startswith("<")
    assert previews.of_value(OrderedDict(a=1)) == {"a": 1}
    assert previews.of_value(10**400) == "<an integer of 1329 bits>"
    assert previews.of_args((1, "x" * 1000), {"k": b"12"})[1:] == [
        "x" * 300 + "… (1000 characters)",
        {"k": "<2 bytes>"},
    ]


# --- values ---------------------------------------------------------------------------------------------


def same(one, other):
    return repr(one) == repr(other)


@given(PLAIN)
def test_a_plain_value_is_read_back_as_it_was(value):
    """On the first run and on every replay."""
    made = codec()

    outcome = made.value(value, None)

    assert outcome.status == "ok"
    assert same(outcome.value, value)
    assert same(made.read(outcome.body, ()).value, value)


def test_what_does_not_pickle_or_comes_not_back_is_live():
    """Locks and generators; objects whose pickle cannot be read."""

    class Odd:
        def __reduce__(self):
            return (_fail, ())

    assert codec().value(threading.Lock(), None) is None
    assert codec().value((n for n in ()), None) is None
    assert codec().value(Odd(), None) is None


def _fail():
    raise ValueError


class Holder:
    def __init__(self, token):
        self.token = token


def test_an_object_with_a_secret_is_live_and_plain_data_is_not():
    """What user code returns as plain data is its own affair, and sealed."""
    made = Codec(Masks(["hidden"], {"hidden": "T"}), lambda path: path == __file__)

    assert made.value(Holder("hidden"), None) is None
    assert made.value({"token": "hidden"}, None) is not None


def test_an_object_of_a_library_is_recorded_with_the_name_of_its_secret():
    """What a service answered is kept, though a request with a token hangs on it; a newer token is put in."""
    masks = Masks(["hidden"], {"hidden": "T"})
    made = Codec(masks, lambda _path: False)

    outcome = made.value(Holder("Bearer hidden!"), None)
    masks.add("newer", "T")

    assert outcome is not None
    assert b"hidden" not in outcome.body
    assert outcome.value.token == "Bearer hidden!"
    assert made.read(outcome.body, ()).value.token == "Bearer newer!"


def test_a_secret_without_a_name_cannot_be_put_back():
    """The object is live then."""
    made = Codec(Masks(["hidden"], {}), lambda _path: False)

    assert made.value(Holder("hidden"), None) is None


@given(st.lists(st.integers(), max_size=5), st.lists(st.integers(), max_size=5))
def test_changed_containers_are_changed_in_place(before, after):
    """They keep their identity, also where the result is one of them."""
    digests = Digests()

    def step(rows, index):
        rows[:] = after
        index["rows"] = rows
        return rows

    made, (rows, index) = codec(), (list(before), {})
    tracked = changes.track((rows, index), {}, digests, lambda _cls: False)
    tracked.look()
    outcome = made.value(step(rows, index), tracked)
    again_rows, again_index = list(before), {}
    again = changes.track((again_rows, again_index), {}, digests, lambda _cls: False)

    found = made.read(outcome.body, again.containers).value

    assert found is again_rows
    assert again_index["rows"] is again_rows
    assert again_rows == after


class Loud(dict):
    """A dictionary with habits of its own."""

    def update(self, *_args, **_kwargs):
        raise AssertionError("nobody has asked for an update")


@pytest.mark.parametrize(
    ("before", "more"),
    [
        (Counter("aab"), {"b": 5}),
        (OrderedDict(a=1, b=2), {"c": 3}),
        (defaultdict(list, a=[1]), {"b": [2]}),
        (Loud(a=1), {"b": 2}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_dictionaries_of_other_classes_get_the_items_that_they_had(before, more):
    """On the first run and in a replay; a Counter counts nothing anew."""
    here, there = copy.copy(before), copy.copy(before)
    tracked = changes.track((here,), {}, Digests(), lambda _cls: False)
    tracked.look()
    for key, value in more.items():
        here[key] = value
    expected = list(here.items())

    outcome = codec().value(None, tracked)
    codec().read(outcome.body, changes.track((there,), {}, Digests(), lambda _cls: False).containers)

    assert list(here.items()) == list(there.items()) == expected
    assert type(there) is type(before)


class Receiver:
    """An object of a library, as a receiver."""

    y = 1


def test_a_release_that_compares_less_passes_by_what_was_recorded():
    """A record names arguments that hold data by numbers that no container and no receiver had."""
    made = codec()
    before, after = types.SimpleNamespace(x=1), types.SimpleNamespace(x=1)
    rows, receiver = [1], Receiver()
    tracked = changes.track((rows, before), {}, Digests(), lambda _cls: False, receiver, made)
    tracked.look()
    before.x, receiver.y = 2, 5
    body = made.value(None, tracked).body
    there = Receiver()
    again = changes.track(([1], after), {}, Digests(), lambda _cls: False, there, made)
    lost = changes.track(([1], types.SimpleNamespace(x=1)), {}, Digests(), lambda _cls: False, None, made)

    made.read(body, again.containers)
    assert (after.x, there.y) == (1, 5)
    made.read(body, again.targets)
    assert (after.x, there.y) == (2, 5)
    made.read(body, lost.targets)
    assert lost.targets[-1].x == 2


# --- errors ---------------------------------------------------------------------------------------------


class KeywordOnly(Exception):
    def __init__(self, *, code):
        super().__init__(f"code {code}")
        self.code = code
        self.lock = threading.Lock()


def caught(error):
    try:
        raise error
    except BaseException as found:
        return found


def test_an_error_that_does_not_pickle_keeps_its_class_and_message():
    """So that the user's `except` finds it; attributes that can be kept are."""
    again = failures.rebuild(failures.describe(caught(KeywordOnly(code=5)), lambda _path: True))

    assert type(again) is KeywordOnly
    assert (str(again), again.code) == ("code 5", 5)


def test_an_error_of_a_class_that_nobody_else_finds_is_its_nearest_base():
    """A class inside a function has no name that another process could import."""

    class Local(LookupError):
        pass

    again = failures.rebuild(failures.describe(caught(Local("gone")), lambda _path: True))

    assert type(again) is LookupError
    assert str(again) == "gone"


def test_notes_cause_and_frames_survive():
    """The traceback of an error that is made again shows the lines where it was raised."""
    error = KeyError("x")
    error.add_note("a note")
    error.__cause__ = caught(OSError(2, "no file", "/x"))

    again = failures.rebuild(failures.describe(caught(error), lambda path: path == __file__))

    assert again.__notes__ == ["a note"]
    assert again.__cause__.errno == 2
    assert [frame[2] for frame in tracebacks.frames_of(again, lambda _path: True)] == ["caught"]


class Marker:
    """Objects of it have no state, but for those that somebody gives one."""


ABSENT = Marker()
NOTHING = object()


def test_a_sentinel_is_read_back_as_itself():
    """Also one that hangs on something else, and one of a library that says whose it is."""
    value = [ABSENT, {"default": NOTHING}, httpx2.USE_CLIENT_DEFAULT]

    again = codec().value(value, None).value

    assert again is not value
    assert again[0] is ABSENT
    assert again[1]["default"] is NOTHING
    assert again[2] is httpx2.USE_CLIENT_DEFAULT


def test_an_object_with_a_state_is_a_copy(monkeypatch):
    """The record holds what it was; so it is with objects that no module holds."""
    monkeypatch.setattr(ABSENT, "n", 1, raising=False)

    again = codec().value([ABSENT, Marker()], None).value

    assert again[0] is not ABSENT
    assert again[0].n == 1
    assert type(again[1]) is Marker


def test_a_sentinel_that_the_code_has_no_more_is_another_object_of_its_class(monkeypatch):
    """A session that goes on with other code reads its journal all the same."""
    body = codec().value([ABSENT, NOTHING], None).body
    monkeypatch.delattr(sys.modules[__name__], "ABSENT")
    monkeypatch.delattr(sys.modules[__name__], "NOTHING")

    found = codec().read(body, ()).value

    assert [type(item) for item in found] == [Marker, object]


def test_a_module_is_read_back_as_itself():
    """By its name; one that nobody can import is live."""
    found = codec().value({"of": json, "made": types.SimpleNamespace(by=sys)}, None).value

    assert found["of"] is json
    assert found["made"].by is sys
    assert codec().value(types.ModuleType("json"), None) is None
