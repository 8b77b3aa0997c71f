"""Requests to webhook addresses: what becomes of them, and what project code sees."""

import asyncio
import base64
import json
from dataclasses import replace

import pytest
from event_world import World, a_request
from factories import a_connection, a_trigger
from hypothesis import given
from hypothesis import strategies as st

from ninelives_server.errors import NotFound, SetupError, TooLarge, Unauthenticated
from ninelives_server.events import webhooks
from ninelives_server.events.webhooks import BODY_LIMIT
from ninelives_server.model.projects import DeploymentState
from ninelives_server.model.triggers import TriggerType
from ninelives_server.store import builds, triggers


async def test_a_request_becomes_an_event_and_starts_a_session(world: World):
    """
    The plain webhook goes through the same door as every other event.
    """
    shop = await world.shop()
    trigger = await a_trigger(world.store, shop.project, event_type="post")

    event_id = await world.webhooks.receive(a_request(trigger.slug, path_suffix="orders/7"))
    await world.dispatcher.sweep()

    detail = await world.events.get(shop.actor, event_id)
    [session] = await world.all_sessions(shop.actor.org_id)
    assert (detail.event.event_type, detail.event.trigger_id) == ("post", trigger.id)
    assert detail.event.memo["remote_addr"] == "203.0.113.9"
    assert detail.data["body"]["json"] == {"id": 7}
    assert detail.data["url"]["path_suffix"] == "orders/7"
    assert (session.event_id, session.trigger_id) == (event_id, trigger.id)


async def test_the_event_is_announced_to_the_dispatcher(world: World):
    """
    Nobody waits for a sweep: the loop gets the event right after the commit.
    """
    shop = await world.shop()
    trigger = await a_trigger(world.store, shop.project)
    running = asyncio.create_task(world.dispatcher.run())

    with world.store.notices.subscribed("session") as started:
        try:
            await world.webhooks.receive(a_request(trigger.slug))
            await asyncio.wait_for(started.wait(), 20)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    assert len(await world.all_sessions(shop.actor.org_id)) == 1


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_any_method_is_taken(method):
    """
    The event type is the method in lower case; the data has it as sent.
    """
    assert webhooks.data_of(a_request(method=method, body=b""))["method"] == method


async def test_the_event_type_is_the_method_in_lower_case(world: World):
    """
    A trigger with event type `post` must not run for a GET.
    """
    shop = await world.shop()
    trigger = await a_trigger(world.store, shop.project, event_type="post")

    event_id = await world.webhooks.receive(a_request(trigger.slug, method="GET", body=b""))
    await world.dispatcher.sweep()

    assert (await world.event(event_id)).event_type == "get"
    assert await world.all_sessions(shop.actor.org_id) == []


async def test_an_unknown_address_and_one_out_of_service_look_the_same(world: World):
    """
    404, and nothing that tells a stranger which addresses exist.
    """
    shop = await world.shop()
    trigger = await a_trigger(world.store, shop.project)
    connection = await a_connection(world.store, shop.project)
    await a_trigger(
        world.store, shop.project, name="c", type=TriggerType.CONNECTION, connection_id=connection.id
    )
    await world.store.write(
        lambda tx: builds.set_deployment_state(tx, shop.deployment.id, DeploymentState.INACTIVE)
    )

    with pytest.raises(NotFound) as out_of_service:
        await world.webhooks.receive(a_request(trigger.slug))
    with pytest.raises(NotFound) as unknown:
        await world.webhooks.receive(a_request("nope"))

    assert str(out_of_service.value) == str(unknown.value)
    assert await world.all_events(shop.project.id) == []


async def test_a_body_over_the_limit_is_refused(world: World):
    """
    512 KiB, as existing projects know it.
    """
    shop = await world.shop()
    trigger = await a_trigger(world.store, shop.project)

    await world.webhooks.receive(a_request(trigger.slug, body=b"x" * BODY_LIMIT))
    with pytest.raises(TooLarge, match="512 KiB"):
        await world.webhooks.receive(a_request(trigger.slug, body=b"x" * (BODY_LIMIT + 1)))

    assert len(await world.all_events(shop.project.id)) == 1


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-GitHub-Delivery", "webhook-id", "Svix-Id"])
async def test_a_delivery_that_is_tried_again_is_one_event(world: World, header):
    """
    Senders that name their deliveries retry with the same name.
    """
    shop = await world.shop()
    trigger = await a_trigger(world.store, shop.project)
    request = a_request(trigger.slug, headers=[(header, "d-1")])

    first = await world.webhooks.receive(request)
    again = await world.webhooks.receive(request)
    other = await world.webhooks.receive(a_request(trigger.slug, headers=[(header, "d-2")]))

    assert first == again != other


async def test_the_same_delivery_to_two_webhooks_is_two_events(world: World):
    """
    A name of a delivery counts for one address only.
    """
    shop = await world.shop()
    one = await a_trigger(world.store, shop.project, name="one")
    two = await a_trigger(world.store, shop.project, name="two")
    headers = [("idempotency-key", "k")]

    await world.webhooks.receive(a_request(one.slug, headers=headers))
    await world.webhooks.receive(a_request(two.slug, headers=headers))

    assert len(await world.all_events(shop.project.id)) == 2


async def test_requests_that_come_together_share_a_unit(world: World, monkeypatch):
    """
    One commit and one look-up serve them all; each is an event, in the order in which they came.
    """
    shop = await world.shop()
    trigger = await a_trigger(world.store, shop.project)
    units = []
    honest = world.ingest.record_in
    monkeypatch.setattr(
        world.ingest, "record_in", lambda tx, new, **more: units.append(len(new)) or honest(tx, new, **more)
    )

    found = await asyncio.gather(
        *(world.webhooks.receive(a_request(trigger.slug, body=str(n).encode())) for n in range(20))
    )

    stored = [event.id for event in await world.all_events(shop.project.id)]
    details = [(await world.events.get(shop.actor, event_id)).data for event_id in found]
    assert stored == found
    assert [data["body"]["json"] for data in details] == list(range(20))
    assert units == [20]


async def test_each_of_those_that_come_together_has_its_own_answer(world: World):
    """
    Refusals, deliveries that came before, two tenants: as if each had come alone.
    """
    shop, other = await world.shop(), await world.shop(org="other", user="eve", name="other")
    auth = {"scheme": "token", "header": "X-Token", "secret": "TOKEN"}
    world.variables.values = {"TOKEN": "right"}
    guarded = await a_trigger(world.store, shop.project, options={"auth": auth})
    open_ = await a_trigger(world.store, shop.project, name="open", is_sync=True)
    theirs = await a_trigger(world.store, other.project)
    named = [("Idempotency-Key", "one")]

    found = await asyncio.gather(
        world.webhooks.accept(a_request(open_.slug, headers=named)),
        world.webhooks.accept(a_request("nobody's")),
        world.webhooks.accept(a_request(guarded.slug, headers=[("X-Token", "wrong")])),
        world.webhooks.accept(a_request(guarded.slug, headers=[("X-Token", "right")])),
        world.webhooks.accept(a_request(theirs.slug, headers=named)),
        world.webhooks.accept(a_request(open_.slug, headers=named)),
        return_exceptions=True,
    )

    first, unknown, wrong, right, foreign, again = found
    assert (type(unknown), type(wrong)) == (NotFound, Unauthenticated)
    assert (first.is_new, first.is_sync, again.is_new, again.event_id) == (True, True, False, first.event_id)
    assert [event.id for event in await world.all_events(shop.project.id)] == [first.event_id, right.event_id]
    assert [event.id for event in await world.all_events(other.project.id)] == [foreign.event_id]


async def test_a_request_that_cannot_be_stored_fails_none_that_came_with_it(world: World):
    """
    Such as one of a project whose key is gone: the unit fails, and the others are stored all the same.
    """
    shop, broken = await world.shop(), await world.shop(org="other", user="eve", name="broken")
    good = await a_trigger(world.store, shop.project)
    bad = await a_trigger(world.store, broken.project)
    await world.store.write(lambda tx: world.vault.destroy_key(tx, broken.project.id))

    found = await asyncio.gather(
        *(world.webhooks.receive(a_request(slug)) for slug in (good.slug, bad.slug, good.slug)),
        return_exceptions=True,
    )

    assert isinstance(found[1], SetupError)
    assert [event.id for event in await world.all_events(shop.project.id)] == [found[0], found[2]]
    assert await world.all_events(broken.project.id) == []


async def test_a_change_of_a_webhook_holds_from_its_commit_on(world: World):
    """
    Nothing about an address is remembered, so nothing can be out of date: neither who may call, nor whose
    it is, nor whether it is there at all.
    """
    shop = await world.shop()
    trigger = await a_trigger(world.store, shop.project)
    auth = {"scheme": "token", "header": "X-Token", "secret": "TOKEN"}

    async def answer(token: str = "") -> str:
        request = a_request(trigger.slug, headers=[("X-Token", token)])
        [found] = await asyncio.gather(world.webhooks.accept(request), return_exceptions=True)
        return "sync" if getattr(found, "is_sync", False) else type(found).__name__

    found = [await answer()]
    await world.store.write(lambda tx: triggers.update(tx, replace(trigger, options={"auth": auth})))
    world.variables.values = {"TOKEN": "first"}
    found += [await answer(), await answer("first")]
    world.variables.values = {"TOKEN": "second"}
    found += [await answer("first"), await answer("second")]
    await world.store.write(lambda tx: triggers.update(tx, replace(trigger, is_sync=True)))
    found += [await answer()]
    await world.store.write(
        lambda tx: builds.set_deployment_state(tx, shop.deployment.id, DeploymentState.DRAINING)
    )
    found += [await answer()]
    await world.store.write(
        lambda tx: builds.set_deployment_state(tx, shop.deployment.id, DeploymentState.ACTIVE)
    )
    found += [await answer()]
    await world.store.write(lambda tx: triggers.delete(tx, trigger.id))
    found += [await answer()]

    assert found == [
        "Receipt", "Unauthenticated", "Receipt", "Unauthenticated", "Receipt", "sync", "NotFound", "sync",
        "NotFound",
    ]  # fmt: skip


async def test_requests_without_a_name_are_all_different(world: World):
    """
    Two equal orders in a row are two orders.
    """
    shop = await world.shop()
    trigger = await a_trigger(world.store, shop.project)

    await asyncio.gather(*(world.webhooks.receive(a_request(trigger.slug)) for _ in range(20)))

    assert len(await world.all_events(shop.project.id)) == 20


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (f"00-{'a' * 32}-{'b' * 16}-01", True),
        (f"ff-{'a' * 32}-{'b' * 16}-01", False),
        ("nonsense", False),
        ("x" * 500, False),
    ],
)
async def test_a_traceparent_is_kept_where_it_is_one(world: World, value, kept):
    """
    W3C Trace Context: what does not have its form is ignored.
    """
    shop = await world.shop()
    trigger = await a_trigger(world.store, shop.project)

    event_id = await world.webhooks.receive(a_request(trigger.slug, headers=[("traceparent", value)]))

    assert (await world.event(event_id)).traceparent == (value if kept else None)


def test_the_data_has_the_shape_that_existing_projects_read():
    """
    Names, nesting, Go's spelling of headers, repeated values joined with a comma and a space.
    """
    request = a_request(
        path_suffix="a/b",
        raw_url="https://nine.example/webhooks/slug/a/b?x=1&x=2&y=",
        path="/webhooks/slug/a/b",
        query=[("x", "1"), ("x", "2"), ("y", "")],
        headers=[
            ("content-type", "application/json; charset=utf-8"),
            ("x-hub-signature-256", "sha256=ab"),
            ("accept", "a"),
            ("accept", "b"),
            ("weird header", "kept as it is"),
            ("Host", "nine.example"),
        ],
        body='{"name": "Zoë", "n": [1, 2.5, null]}'.encode(),
    )

    data = webhooks.data_of(request)

    assert data == {
        "method": "POST",
        "raw_url": "https://nine.example/webhooks/slug/a/b?x=1&x=2&y=",
        "url": {"path": "/webhooks/slug/a/b", "query": {"x": "1, 2", "y": ""}, "path_suffix": "a/b"},
        "headers": {
            "Content-Type": "application/json; charset=utf-8",
            "X-Hub-Signature-256": "sha256=ab",
            "Accept": "a, b",
            "weird header": "kept as it is",
        },
        "trailers": {},
        "body": {
            "bytes": base64.b64encode(request.body).decode(),
            "text": '{"name": "Zoë", "n": [1, 2.5, null]}',
            "form": {},
            "json": {"name": "Zoë", "n": [1, 2.5, None]},
        },
    }


def test_an_empty_body_has_no_form_at_all():
    """
    All four are `None`, as in AutoKitteh.
    """
    assert webhooks.data_of(a_request(body=b""))["body"] == dict.fromkeys(("bytes", "text", "form", "json"))


def test_json_is_found_whatever_the_type_says():
    """
    Senders often leave the type out, or say form.
    """
    for media_type in ("", "text/plain", "application/x-www-form-urlencoded"):
        request = a_request(headers=[("Content-Type", media_type)], body=b'{"a": 1}')

        assert webhooks.data_of(request)["body"]["json"] == {"a": 1}


def test_a_form_is_parsed():
    """
    Blank and repeated fields are kept.
    """
    request = a_request(
        headers=[("Content-Type", "application/x-www-form-urlencoded")], body=b"a=1&b=&a=2&c=%C3%A9+x"
    )

    body = webhooks.data_of(request)["body"]

    assert body["form"] == {"a": "1, 2", "b": "", "c": "é x"}
    assert body["json"] is None


@pytest.mark.parametrize(
    ("body", "text", "parsed"),
    [
        (b"hello", "hello", None),
        (b"\xff\xfe\x00", None, None),
        (b"[1]", "[1]", [1]),
        (b' {"a": 1} and more', ' {"a": 1} and more', {"a": 1}),
        (b"NaN", "NaN", None),
        (b'{"a":' * 100_000, '{"a":' * 100_000, None),
    ],
)
def test_a_body_that_is_no_json_is_text_or_only_bytes(body, text, parsed):
    """
    Whatever is sent, the bytes are there.
    """
    found = webhooks.data_of(a_request(body=body))["body"]

    assert base64.b64decode(found["bytes"]) == body
    assert (found["text"], found["json"]) == (text, parsed)


@pytest.mark.parametrize("body", [b'{"a": "\\ud800"}', b'{"a": 1e999}'])
async def test_json_that_cannot_be_stored_is_still_an_event(world: World, body):
    """
    Half a surrogate pair and infinity are accepted by parsers and refused by stores; the sender gets its 202.
    """
    shop = await world.shop()
    trigger = await a_trigger(world.store, shop.project)

    event_id = await world.webhooks.receive(a_request(trigger.slug, body=body))

    found = (await world.events.get(shop.actor, event_id)).data["body"]
    assert found["json"] is None
    assert base64.b64decode(found["bytes"]) == body


@pytest.mark.parametrize(
    ("cookies", "kept"),
    [
        ("ninelives_session=s3cret; theirs=1", "theirs=1"),
        ("__Host-ninelives_session=s3cret", None),
        ("a=1; NINELIVES_flow=s3cret ;b=2", "a=1; b=2"),
        ("a=ninelives_session", "a=ninelives_session"),
    ],
)
def test_our_own_cookies_never_reach_project_code(cookies, kept):
    """
    A webhook opened in a browser that is logged in here carries the login; an event must not.
    """
    data = webhooks.data_of(a_request(headers=[("cookie", cookies)]))

    assert data["headers"].get("Cookie") == kept
    assert "s3cret" not in json.dumps(data)


@given(
    st.binary(max_size=2000), st.sampled_from(["", "application/json", "application/x-www-form-urlencoded"])
)
def test_any_body_gives_data_that_can_be_read_back(body, content_type):
    """
    Nothing that is sent can break the door.
    """
    data = webhooks.data_of(a_request(body=body, headers=[("content-type", content_type)]))

    assert base64.b64decode(data["body"]["bytes"] or "") == body
    assert data["body"]["text"] is None or data["body"]["text"].encode() == body
