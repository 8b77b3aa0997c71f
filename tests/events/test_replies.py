"""What a webhook answers whose sender waits."""

import asyncio
import base64
import json

import pytest
from event_world import Shop, World, a_request
from factories import a_trigger
from hypothesis import given
from hypothesis import strategies as st

from ninelives_server.events import replies
from ninelives_server.events.replies import Replies
from ninelives_server.model.sessions import SessionState
from ninelives_server.store import outcomes, sessions, tables


@pytest.fixture
async def shop(world: World) -> Shop:
    return await world.shop()


async def a_call(world: World, shop: Shop, **changes) -> tuple[str, str]:
    """Let a request start a session; return the ids of event and session."""
    trigger = await a_trigger(world.store, shop.project, is_sync=True, **changes)
    receipt = await world.webhooks.accept(a_request(trigger.slug))
    assert receipt.is_sync
    await world.dispatcher.dispatch([receipt.event_id])
    found = await world.all_sessions(shop.actor.org_id)
    return receipt.event_id, found[-1].id if found else ""


async def answer(world: World, shop: Shop, event_id: str, session_id: str, value) -> None:
    """Add an outcome as the session's call does."""

    def write(tx):
        outcome_id = outcomes.new_id()
        sealed = world.vault.seal(
            tx, shop.project.id, outcomes.context(outcome_id), json.dumps(value).encode()
        )
        outcomes.insert(tx, outcome_id, event_id=event_id, session_id=session_id, sealed_value=sealed)

    await world.store.write(write)


async def whole(reply: replies.Reply) -> bytes:
    """The body with all that follows."""
    rest = [part async for part in reply.rest] if reply.rest is not None else []
    return b"".join([reply.body, *rest])


async def end(world: World, session_id: str) -> None:
    await world.store.write(lambda tx: sessions.end(tx, session_id, SessionState.COMPLETED))


async def test_the_session_s_answer_is_the_response(world: World, shop: Shop):
    """
    It is sent as soon as it is there, whether the session goes on or not.
    """
    event_id, session_id = await a_call(world, shop)
    waiting = asyncio.create_task(Replies(store=world.store, vault=world.vault).wait(event_id, seconds=60))
    await asyncio.sleep(0)

    await answer(
        world, shop, event_id, session_id, {"status_code": 201, "headers": {"x-kind": "a"}, "json": {"ok": 1}}
    )
    reply = await asyncio.wait_for(waiting, 20)

    assert (reply.status, json.loads(reply.body)) == (201, {"ok": 1})
    assert reply.headers["X-Kind"] == "a"
    assert reply.headers["Content-Type"] == "application/json"


async def test_answers_with_more_are_joined(world: World, shop: Shop):
    """
    Status and headers are the first one's.
    """
    event_id, session_id = await a_call(world, shop)
    for value in (
        {"status_code": 202, "body": "one ", "more": True},
        {"status_code": 500, "body": "two ", "more": True},
        {"body": "three"},
    ):
        await answer(world, shop, event_id, session_id, value)

    reply = await Replies(store=world.store, vault=world.vault).wait(event_id)

    assert (reply.status, await whole(reply)) == (202, b"one two three")


async def test_an_answer_that_promised_more_is_sent_when_the_session_has_ended(world: World, shop: Shop):
    """
    What there is, is better than nothing.
    """
    event_id, session_id = await a_call(world, shop)
    await answer(world, shop, event_id, session_id, {"body": "one", "more": True})
    await end(world, session_id)

    reply = await Replies(store=world.store, vault=world.vault).wait(event_id)

    assert (reply.status, await whole(reply)) == (200, b"one")


async def test_the_first_answer_is_sent_before_the_others_are_there(world: World, shop: Shop):
    """
    That is what `more` is for: the caller sees how far it is.
    """
    event_id, session_id = await a_call(world, shop)
    await answer(world, shop, event_id, session_id, {"body": "one ", "more": True})

    reply = await Replies(store=world.store, vault=world.vault).wait(event_id, seconds=60)
    assert reply.body == b"one "
    assert reply.rest is not None
    waiting = asyncio.ensure_future(anext(reply.rest))
    await asyncio.sleep(0)
    await answer(world, shop, event_id, session_id, {"body": "two ", "more": True})
    assert await asyncio.wait_for(waiting, 20) == b"two "
    await answer(world, shop, event_id, session_id, {"json": [3]})

    assert [part async for part in reply.rest] == [b"[3]"]


async def test_a_session_that_was_waiting_for_the_request_may_answer(world: World, shop: Shop):
    """
    Nothing is started then, but somebody was told: the caller waits until that session ends.
    """
    trigger = await a_trigger(world.store, shop.project, is_sync=True, call="", name="quotes")
    waiting_one = await world.events.start_session(shop.actor, shop.project.id, "main.py:on_lead", {})

    def subscribe(tx):
        subscription = {"id": "sub_1", "session_id": waiting_one.id, "project_id": shop.project.id}
        values = {**subscription, "trigger_id": trigger.id, "filter": "", "created_at": tx.now}
        tx.connection.execute(tables.subscriptions.insert().values(values))

    await world.store.write(subscribe)
    receipt = await world.webhooks.accept(a_request(trigger.slug))
    await world.dispatcher.dispatch([receipt.event_id])

    [outcome] = (await world.event(receipt.event_id)).dispatch
    assert outcome == {"outcome": "signalled", "session_id": waiting_one.id}
    desk = Replies(store=world.store, vault=world.vault)
    assert (await desk.wait(receipt.event_id, seconds=0.2)).status == 504
    await answer(world, shop, receipt.event_id, waiting_one.id, {"body": "42"})
    assert (await desk.wait(receipt.event_id)).body == b"42"


async def test_a_session_that_ends_without_an_answer_is_a_502(world: World, shop: Shop):
    """
    The caller is not kept waiting for what can never come.
    """
    event_id, session_id = await a_call(world, shop)
    waiting = asyncio.create_task(Replies(store=world.store, vault=world.vault).wait(event_id, seconds=60))
    await asyncio.sleep(0)
    await end(world, session_id)

    reply = await asyncio.wait_for(waiting, 20)

    assert (reply.status, reply.body) == (502, b"the session ended without an answer")


async def test_a_request_that_starts_no_session_is_a_502(world: World, shop: Shop):
    """
    A filter may keep it out.
    """
    event_id, _ = await a_call(world, shop, filter="false")

    reply = await Replies(store=world.store, vault=world.vault).wait(event_id)

    assert (reply.status, reply.body) == (502, b"no session was started for this request")


async def test_a_slow_session_is_a_504(world: World, shop: Shop):
    """
    The session goes on; only the caller stops waiting.
    """
    event_id, _ = await a_call(world, shop)

    reply = await Replies(store=world.store, vault=world.vault).wait(event_id, seconds=0.2)

    assert reply.status == 504


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_an_answer_that_may_have_no_body_has_none(world: World, shop: Shop, status):
    """
    What code gives nevertheless, and what it says later, would be read as the beginning of another answer.
    """
    event_id, session_id = await a_call(world, shop)
    await answer(world, shop, event_id, session_id, {"status_code": status, "body": "x", "more": True})

    reply = await Replies(store=world.store, vault=world.vault).wait(event_id, seconds=60)

    assert (reply.status, reply.body, reply.rest) == (status, b"", None)


@pytest.mark.parametrize(
    ("value", "status", "media_type", "body"),
    [
        ({"body": "hello"}, 200, "text/plain; charset=utf-8", b"hello"),
        ({"status_code": 0, "body": "x"}, 200, "text/plain; charset=utf-8", b"x"),
        ({"body": {"a": 1}}, 200, "application/json", b'{"a": 1}'),
        ({"json": [1]}, 200, "application/json", b"[1]"),
        ({"json": None}, 200, "application/json", b"null"),
        ({"status_code": 204}, 204, "text/plain; charset=utf-8", b""),
        ({"body_base64": base64.b64encode(b"\0").decode()}, 200, "application/octet-stream", b"\0"),
        ({"body": "<html>x</html>"}, 200, "text/html; charset=utf-8", b"<html>x</html>"),
        ({"headers": {"content-type": "text/csv"}, "body": "a,b"}, 200, "text/csv", b"a,b"),
        ({"any": "dict"}, 200, "application/json", b'{"any": "dict"}'),
        ("text", 200, "application/json", b'"text"'),
        (None, 200, "application/json", b"null"),
        ({"status_code": 99, "body": ""}, 502, "text/plain; charset=utf-8", None),
        ({"status_code": "x", "body": ""}, 502, "text/plain; charset=utf-8", None),
        ({"body_base64": "!"}, 502, "text/plain; charset=utf-8", None),
        ({"body": "x", "json": 1}, 502, "text/plain; charset=utf-8", None),
        ({"headers": ["X-A", "b"]}, 502, "text/plain; charset=utf-8", None),
    ],
    ids=[*"abcdefghijklmnopq"],
)
def test_kinds_of_answers(value, status, media_type, body):
    """
    What AutoKitteh's projects send, and what is none.
    """
    reply = replies._first(value)

    assert (reply.status, reply.headers["Content-Type"]) == (status, media_type)
    assert body is None or reply.body == body


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Set-Cookie", "ninelives_session=x"),
        ("clear-site-data", "*"),
        ("Service-Worker-Allowed", "/"),
        ("Content-Security-Policy", "default-src *"),
        ("X-Content-Type-Options", "x"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "5"),
        ("Connection", "close"),
    ],
)
def test_headers_that_project_code_may_not_set_are_dropped(name, value):
    """
    Nothing that a project answers may act on the whole site, or break the response.
    """
    reply = replies._first({"headers": {name: value, "x-ok": "1"}, "body": ""})

    assert set(reply.headers) == {"Content-Type", "Cache-Control", "X-Ok"}


@pytest.mark.parametrize("value", ["é", "a\tb", " two  words ", "", 7, "\x85"])
def test_what_latin_1_has_is_a_header(value):
    """
    As with Python's own servers; the space around a value is none of it (RFC 9110, section 5.5).
    """
    reply = replies._first({"headers": {"X-A": value}, "body": ""})

    assert reply.headers["X-A"] == str(value).strip(" \t")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("X-A", "a\r\nSet-Cookie: b=c", r"the header 'X-A' cannot have the value 'a\r\nSet-Cookie: b=c'"),
        ("X-A", "a\n b", r"'\n' is a control character"),
        ("X-A", "\0", r"'\x00' is a control character"),
        ("X-A", "snow \u2603", "Latin-1, which has no '\u2603'"),
        ("X-A", "y" * 1000 + "\n", f"'{'y' * 100}…'"),
        ("X A", "a", "'X A' is no name of a header"),
        ("", "a", "'' is no name of a header"),
    ],
)
def test_a_header_that_http_cannot_carry_is_told(name, value, says):
    """
    An answer without it would be another one. `http_outcome` raises it where it is called; this is for what
    was put together by hand.
    """
    reply = replies._first({"headers": {name: value, "x-ok": "1"}, "body": ""})

    assert reply.status == 502
    assert says in reply.body.decode()


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda i: (
            st.lists(i)
            | st.dictionaries(st.sampled_from(["status_code", "headers", "body", "json", "more", "x"]), i)
        ),
    )
)
def test_any_value_makes_a_response(value):
    """
    Whatever project code answers, the server has a response.
    """
    reply = replies._first(value)

    assert 200 <= reply.status <= 599
    assert isinstance(reply.body, bytes)
