"""
What sessions hand to the server, and what they report at their end: all of it passes their socket.
"""

import base64
import json

import pytest

from ninelives import arguments
from ninelives.run import wire
from ninelives_server.worker import session_socket

CALLS = {
    "set_value": 'ninelives.set_value("k", VALUE)',
    "check_and_set_value": 'ninelives.check_and_set_value("k", VALUE, 1)',
    "signal": 'ninelives.signal("ses_x", "name", VALUE)',
    "start": 'ninelives.start("main.py:main", {"x": VALUE})',
    "outcome": "ninelives.outcome(VALUE)",
    "next_signal": 'ninelives.next_signal(["x", str(VALUE)], timeout=0)',
    "restart": 'ninelives.restart({"x": VALUE})',
}
PROGRAM = """
import ninelives

VALUE = {value}
if isinstance(VALUE, list):
    for _ in range(200):
        VALUE = [VALUE]


def main(event):
    try:
        {call}
    except Exception as error:
        return f"{{type(error).__name__}}: {{error}}"
"""


@pytest.mark.parametrize("limit", [arguments.LARGEST, arguments.INLINE])
@pytest.mark.parametrize("is_durable", [True, False])
@pytest.mark.parametrize("call", [call for name, call in CALLS.items()], ids=list(CALLS))
def test_what_is_too_large_is_an_error_where_it_is_given(harness, program, call, is_durable, limit):
    """
    The session goes on: nothing of it was sent, and nothing of it is in the journal. Sessions that were made
    under the former limit keep it: their code may have caught its error.
    """
    made = program(PROGRAM.format(value=f'"x" * {limit}', call=call), is_durable=is_durable, call_limit=limit)

    outcome = harness.run(made)

    # Names that are waited for are no values: they stand in a frame's header.
    allowed = arguments.INLINE if "next_signal" in call else limit
    assert outcome.result.startswith("ValueError: ")
    assert f"{allowed} are allowed" in outcome.result
    assert outcome.journal.steps() == []


@pytest.mark.parametrize("is_durable", [True, False])
def test_a_large_value_is_no_part_of_a_header(harness, program, is_durable):
    """
    A frame's header has a limit; names stand there all the same, values of any size arrive as they are.
    """
    got = []
    source = """
        import ninelives

        def main(event):
            ninelives.set_value("k", {"x": "ä" * 1_000_000})
            try:
                ninelives.set_value("k" * 600_000, 1)
            except ValueError as error:
                ninelives.restart({"said": str(error), "more": "y" * 1_000_000})
        """
    made = program(source, is_durable=is_durable, answers={"store.set": got.append})

    outcome = harness.run(made)

    assert got == [{"key": "k", "value": {"x": "ä" * 1_000_000}}]
    assert outcome.restart["said"].startswith("store.set was given 600")
    assert "500000 are allowed" in outcome.restart["said"]
    assert outcome.restart["more"] == "y" * 1_000_000


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("[1]", "TypeError: store.set takes values that are nested 90 levels deep at most"),
        (r'"\ud800"', r"ValueError: store.set takes Unicode text; '\ud800' is half of a surrogate pair"),
        ('float("nan")', "TypeError: store.set takes values that JSON can hold: Out of range"),
    ],
)
@pytest.mark.parametrize("is_durable", [True, False])
def test_what_no_json_holds_is_an_error_where_it_is_given(harness, program, value, says, is_durable):
    """
    Depth, halves of characters, and numbers that are none: whoever reads them later could not.
    """
    made = program(PROGRAM.format(value=value, call=CALLS["set_value"]), is_durable=is_durable)

    assert harness.run(made).result.startswith(says)


def test_what_is_allowed_passes_the_socket():
    """
    The largest and deepest arguments, with all that stands beside them in a frame's header.
    """
    deep: object = "x" * (arguments.INLINE - 1000)
    for _ in range(arguments.DEEPEST - 1):
        deep = [deep]
    head = {"t": "call", "i": 1, "args": arguments.plain("store.set", {"key": "k", "value": [deep]})}
    text = wire.encode({**head, "preview": {"args": ["x" * 10_000]}})

    assert session_socket._header(text[8:]) is not None
    with pytest.raises(TypeError, match="90 levels"):
        arguments.plain("store.set", {"value": [[deep]]})


@pytest.mark.parametrize(
    ("body", "whole", "content_type"),
    [
        ('"ä" * 400_000', "ä" * 400_000, None),
        ('b"a" * 1_000_000', "a" * 1_000_000, None),
        ('["x" * 300_000]', json.dumps(["x" * 300_000]), "application/json"),
    ],
)
def test_a_large_answer_is_sent_in_parts(harness, program, body, whole, content_type):
    """
    Whoever asked gets the body as one; each part is an outcome of its own that says whether more comes.
    """
    sent = []
    source = f"import ninelives\n\ndef main(event):\n    ninelives.http_outcome(201, {body})\n"
    made = program(source, answers={"outcome": lambda args: sent.append(args["value"])})

    harness.run(made)

    assert len(sent) > 1
    assert [part["more"] for part in sent] == [True] * (len(sent) - 1) + [False]
    assert "".join(_text(part) for part in sent) == whole
    assert sent[0]["status_code"] == 201
    assert sent[0]["headers"].get("Content-Type") == content_type


def _text(part):
    return base64.b64decode(part["body_base64"]).decode() if "body_base64" in part else part["body"]


@pytest.mark.parametrize("is_durable", [True, False])
def test_an_error_of_any_length_is_told(harness, program, is_durable):
    """
    Its beginning and its end; how much is missing between them is said.
    """
    made = program(
        """
        def main(event):
            raise ValueError("begin" + "x" * 1_000_000 + "end")
        """,
        is_durable=is_durable,
    )

    error = harness.run(made).error

    assert error["message"].startswith("begin")
    assert error["message"].endswith("end")
    assert "characters are left out here" in error["message"]
    assert len(error["traceback"]) < 100_000


@pytest.mark.parametrize("is_durable", [True, False])
def test_halves_of_characters_are_shown_and_break_nothing(harness, program, is_durable):
    """
    A result or error with half of a surrogate pair is stored as what `print` shows of it.
    """
    source = r"""
        def main(event):
            if event.data.get("fails"):
                raise ValueError("bad \ud800")
            return {"x": "good \ud83d", "emoji": "\U0001f600"}
        """
    good = harness.run(program(source, is_durable=is_durable))
    bad = harness.run(program(source, is_durable=is_durable, data={"fails": True}))

    assert good.result == {"x": r"good \ud83d", "emoji": "\U0001f600"}
    assert bad.error["message"] == r"bad \ud800"


@pytest.mark.parametrize("is_durable", [True, False])
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_generator_is_no_entry_point(harness, program, kind, is_durable):
    """
    Calling it runs none of its code: to end well without having done anything would be a lie.
    """
    made = program(f"{kind} main(event):\n    yield 1\n", is_durable=is_durable)

    outcome = harness.run(made)

    assert outcome.state == "error"
    assert outcome.error["message"].startswith("entry point main is a generator, none of its code has run")


@pytest.mark.parametrize("is_durable", [True, False])
@pytest.mark.parametrize(
    ("call", "says"),
    [
        (r'ninelives.set_value("a\0b", 1)', r"store.set: key 'a\x00b' has a NUL character"),
        (r'ninelives.next_signal(["x", "n\0"], timeout=0)', r"next_signal: names 'n\x00' has a NUL"),
        (r'ninelives.subscribe("hook", "data.x == \"\0\"")', "subscribe: filter"),
        (r'ninelives.step(name="s\0")', r"the name 's\x00' of a step has a NUL character"),
    ],
)
def test_names_have_no_nul(harness, program, call, says, is_durable):
    """
    PostgreSQL has no such text; values may hold it, they are stored sealed.
    """
    made = program(PROGRAM.format(value='"x"', call=call), is_durable=is_durable)

    assert harness.run(made).result.startswith(f"ValueError: {says}")


@pytest.mark.parametrize("is_durable", [True, False])
def test_the_memo_of_a_child_has_no_secret(harness, program, is_durable):
    """
    It is for people, and shown as it is; what the child's code gets is not touched.
    """
    asked = []
    source = """
        import os
        import ninelives

        def main(event):
            secret = os.environ["KEY"]
            return ninelives.start("main.py:main", {"key": secret}, {"note": f"with {secret}"})
        """
    made = program(
        source,
        is_durable=is_durable,
        env={"KEY": "s3cr3t-value"},
        secrets={"KEY": "s3cr3t-value"},
        answers={"start": lambda args: asked.append(args) or "ses_1"},
    )

    harness.run(made)

    assert [(args["data"], args["memo"]) for args in asked] == [
        ({"key": "s3cr3t-value"}, {"note": "with [KEY]"})
    ]
