"""Answers and errors of HTTP libraries: what of them is there after a crash, and what is said where it is not."""

import pytest

from ninelives_server.testing.session_harness import Journal

AIOHTTP = """
import aiohttp

async def main(event):
    url = event.data.url
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/leads", json={"name": "Ada"}) as answer:
            body = await answer.json()
            print(body, answer.status, answer.ok, answer.headers["content-type"], answer.content_type)
            print(answer.method, answer.url.path, answer.charset, len(answer.cookies), answer.history)
    return body["name"]
"""


def test_status_and_headers_of_an_answer_of_aiohttp_are_there_again(harness, program, outside):
    """They are read after the body as often as before; the body was a step's result."""
    made = program(AIOHTTP, data={"url": outside.url})
    journal = Journal()
    first = harness.run(made, journal)

    again = harness.run(made, journal)

    assert first.result == again.result == "Ada"
    assert again.prints.endswith("application/json application/json\nPOST /leads None 0 ()\n")
    assert outside.asked.total() == 1


LOST = """
import subprocess

import ninelives

@ninelives.step
def note(path, what):
    with open(path, "a") as file:
        file.write(what)

def main(event):
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        print(process.stdin.closed)
        note(event.data.path, "done")
    finally:
        note(event.data.path, "over")
        process.stdin.close()
"""


def test_a_value_that_was_lost_is_named_although_the_code_goes_another_way_then(harness, program, tmp_path):
    """The step in `finally` is not the one that the journal has; why not is what helps."""
    made = program(LOST, data={"path": str(tmp_path / "notes")})
    journal = Journal()
    harness.run(made, journal, kill_after=3)

    lost = harness.run(made, journal)

    assert [row.head["name"] for row in journal.in_order()] == ["subprocess.Popen", "print", "main.note"]
    assert lost.error["type"] == "LiveValueLost"
    assert "step subprocess.Popen" in lost.error["message"]


FORMS = """
import types

import ninelives

@ninelives.step
def views(kind):
    found = {"a": 1, "b": 2}
    return {"keys": found.keys(), "values": found.values(), "items": found.items(),
            "proxy": types.MappingProxyType(found)}[kind]

def main(event):
    return [type(views(kind)).__name__ + repr(views(kind)) for kind in ("keys", "values", "items", "proxy")]
"""


def test_views_of_a_dictionary_are_recorded(harness, program):
    """They are data, though Python does not pickle them."""
    whole = harness.crash_everywhere(program(FORMS))

    assert whole.result == [
        "dict_keysdict_keys(['a', 'b'])",
        "dict_valuesdict_values([1, 2])",
        "dict_itemsdict_items([('a', 1), ('b', 2)])",
        "mappingproxymappingproxy({'a': 1, 'b': 2})",
    ]
    assert all(row.head["status"] == "ok" for row in whole.journal.in_order())


CHAINS = """
import ninelives

@ninelives.step
def fails(how):
    try:
        raise KeyError("first")
    except KeyError as error:
        if how == "from another":
            raise ValueError("second") from TypeError("cause")
        if how == "from None":
            raise ValueError("second") from None
        raise ValueError("second") from error

def main(event):
    try:
        fails(event.data.how)
    except ValueError as error:
        return [repr(error.__cause__), repr(error.__context__), error.__suppress_context__]
"""


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("from error", ["KeyError('first')", "KeyError('first')", True]),
        ("from another", ["TypeError('cause')", "KeyError('first')", True]),
        ("from None", ["None", "KeyError('first')", True]),
    ],
)
def test_cause_and_context_of_an_error_are_both_there(harness, program, how, expected):
    """As Python has them, on the first run and on a replay."""
    assert harness.crash_everywhere(program(CHAINS, data={"how": how})).result == expected
