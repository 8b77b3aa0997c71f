"""Pages of events and triggers."""

import asyncio

import factories
import httpx2
from site_world import Site

from ninelives_server.model.projects import DeploymentState
from ninelives_server.model.triggers import TriggerType
from ninelives_server.sessions.queues import Queues


async def test_an_event_shows_its_data_and_what_each_trigger_made_of_it(site: Site):
    """
    A webhook's event leads to its session; dispatching again leads to another one.
    """
    project, _ = await site.project()
    trigger = await factories.a_trigger(site.services.store, project, name="hook")
    async with httpx2.AsyncClient(trust_env=False) as client:
        sent = await client.post(f"{site.url}/webhooks/{trigger.slug}", json={"lead": "<Ada>"})
    event_id = sent.json()["event_id"]
    copy = await site.after(await site.post(f"/events/{event_id}/redispatch"))

    listed = await site.text("/projects/lead_router/events")
    shown = await site.text(f"/events/{event_id}")

    assert "This is the copy" in copy
    assert "Redispatch of" in copy
    assert f"/events/{event_id}" in listed
    assert "&lt;Ada&gt;" in shown
    assert "<Ada>" not in shown


async def test_an_event_appears_in_the_list_while_it_is_looked_at(site: Site):
    """
    Without a reload, as soon as it is committed.
    """
    project, _ = await site.project()
    async with site.browser.stream("GET", "/projects/lead_router/events/live") as answer:
        parts = answer.aiter_text()
        text = await anext(parts)
        session = await site.session(project)
        async with asyncio.timeout(30):
            while session.event_id not in text:
                text += await anext(parts)

    assert "No events yet" in text


async def test_a_webhook_trigger_shows_its_address_and_who_can_reach_it(site: Site):
    """
    An address on localhost is useless to others, and that is said here, not at the connection.
    """
    project, _ = await site.project()
    trigger = await factories.a_trigger(site.services.store, project, name="hook")

    html = await site.text("/projects/lead_router/triggers")

    assert f"{site.url}/webhooks/{trigger.slug}" in html
    assert "reaches this machine only" in html


async def test_a_trigger_on_a_connection_says_why_it_does_not_listen(site: Site):
    """
    Topic and reason are shown from the beginning, not only once something arrived.
    """
    project, _ = await site.project()
    connection = await factories.a_connection(site.services.store, project)
    await factories.a_trigger(
        site.services.store,
        project,
        name="on_lead",
        type=TriggerType.CONNECTION,
        connection_id=connection.id,
        event_type="lead",
        filter='data.ChangeEventHeader.changeType == "CREATE"',
    )

    html = await site.text("/projects/lead_router/triggers")
    overview = await site.text("/projects/lead_router")
    its_own = await site.text(f"/connections/{connection.id}")

    assert "Used by" in its_own
    assert "on_lead</a>" in its_own
    assert "not connected" in html
    assert "/data/leadchangeevent" in html.lower()
    assert "is init_required" in html
    assert "CREATE" in html
    assert "on_lead: connection" in overview


async def test_a_trigger_shows_what_only_some_have(site: Site):
    """
    Limits, key, overlap, missed times, the next time, and who may call; a secret's name, never a secret.
    """
    project, _ = await site.project()
    store = site.services.store
    auth = {"scheme": "hmac", "secret": "HOOK_SECRET"}
    options = {"max_concurrent": 3, "key": "data.body.json.id", "auth": auth}
    await factories.a_trigger(store, project, name="hook", options=options)
    await factories.a_trigger(
        store,
        project,
        name="nightly",
        type=TriggerType.SCHEDULE,
        schedule="0 3 1 1 * 2099",
        options={"overlap": "skip", "catch_up": "all"},
    )

    html = await site.text("/projects/lead_router/triggers")

    for text in ("3 sessions", "data.body.json.id", "whoever signs", "HOOK_SECRET", "events start nothing"):
        assert text in html
    assert "all are made up for" in html
    assert "2099-01-01" in html


async def test_what_waits_is_shown_as_a_queue(site: Site):
    """
    In the list and on the session's page: its place, and why.
    """
    project, _ = await site.project()
    await site.post("/projects/lead_router/concurrency", max_concurrent="1")
    sessions = [await site.session(project) for _ in range(3)]
    await Queues(store=site.services.store).admit(project.id)

    listed = await site.text("/projects/lead_router/sessions")
    shown = await site.text(f"/sessions/{sessions[2].id}")

    assert "2. the project runs at most 1 sessions at once" in listed
    assert "number 2 in line: the project runs at most 1 sessions at once" in shown


async def test_an_event_can_be_dispatched_to_a_deployment_that_is_testing(site: Site):
    """
    The button is there while there is one.
    """
    project, build = await site.project()
    trigger = await factories.a_trigger(site.services.store, project, name="hook")
    testing = await factories.a_deployment(site.services.store, build, state=DeploymentState.TESTING)
    async with httpx2.AsyncClient(trust_env=False) as client:
        sent = await client.post(f"{site.url}/webhooks/{trigger.slug}", json={})
    path = f"/events/{sent.json()['event_id']}"

    assert testing.id in await site.text(path)
    await site.post(f"{path}/redispatch", deployment_id=testing.id)

    page = await site.services.sessions.list(site.actor)
    assert testing.id in {session.deployment_id for session in page.items}


async def test_the_limits_of_a_trigger_are_changed_on_a_page_of_their_own(site: Site):
    """
    What was typed stays there where it is wrong, with the reason beside it.
    """
    project, _ = await site.project()
    trigger = await factories.a_trigger(site.services.store, project, name="hook")
    path = f"/triggers/{trigger.id}/limits"

    wrong = await site.post(path, max_concurrent="2", key="data.", overlap="skip")
    saved = await site.after(await site.post(path, max_concurrent="2", key="data.id", overlap="skip"))

    assert f'{path}"' in await site.text("/projects/lead_router/triggers")
    assert wrong.status_code == 422
    assert 'value="data."' in wrong.text
    assert "is no expression" in wrong.text
    assert "The limits of hook are saved" in saved
    assert "events start nothing" in saved
    assert "2 sessions" in saved
    assert 'value="data.id"' in await site.text(path)
