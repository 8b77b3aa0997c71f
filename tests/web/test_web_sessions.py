"""Pages of sessions: the list with its filters, and one session from its creation to its end."""

import asyncio
import re

import factories
import httpx2
import pytest
from site_world import Site, printed, step

from ninelives_server.model.sessions import SessionState
from ninelives_server.store import builds, tables
from ninelives_server.store import sessions as session_store
from ninelives_server.store.core import Tx
from ninelives_server.web import live, sessions, tails

ERROR = {
    "type": "ConnectionError",
    "message": "host <b>hooks.example.com</b> refused",
    "traceback": "Traceback:\n  main.py, line 31",
    "seq": 2,
}


async def test_a_session_that_waits_for_a_slot_says_why(site: Site):
    """
    Nothing runs sessions here, and that is what the page says.
    """
    project, _ = await site.project()
    session = await site.session(project)

    html = await site.text(f"/sessions/{session.id}")

    assert "Waiting to start" in html
    assert "no worker is connected" in html
    assert f"/sessions/{session.id}/stop" in html
    assert f"/sessions/{session.id}/again" not in html


async def test_a_session_whose_environment_is_being_made_says_so(site: Site):
    """
    It is `running` by then, but not its code.
    """
    project, _ = await site.project()
    session = await site.session(project)
    why = "its environment is being made: 2 packages"

    def hold(tx: Tx) -> None:
        session_store.hold(tx, session.id, "wrk_1", 1, is_first=True)
        session_store.explain(tx, session.id, why)

    await site.services.store.write(hold)

    assert why in await site.text(f"/sessions/{session.id}")
    assert why in await site.text(f"/projects/{project.name}/sessions")


async def test_a_parked_session_that_nobody_can_go_on_with_says_so(site: Site):
    """
    It is due, and would look as if it still waited for its time.
    """
    project, _ = await site.project()
    session = await site.session(project)
    why = "needs Python 3.99; connected workers have 3.11"

    def park(tx: Tx) -> None:
        session_store.hold(tx, session.id, "wrk_1", 1, is_first=True)
        session_store.park(tx, session.id, tx.now)
        session_store.explain(tx, session.id, why)

    await site.services.store.write(park)

    page = await site.text(f"/sessions/{session.id}")
    assert f"Not going on yet: {why}" in page
    assert "Parked until" not in page
    assert why in await site.text(f"/projects/{project.name}/sessions")


async def test_what_uv_says_is_on_the_pages_of_session_and_build_as_it_says_it(site: Site):
    """
    The session's stream is told of its build's words; the build keeps them when the session goes on.
    """
    project, build = await site.project(requirements=("lower==1.0",))
    session = await site.session(project)
    store = site.services.store

    def hold(tx: Tx) -> None:
        session_store.hold(tx, session.id, "wrk_1", 1, is_first=True)
        session_store.explain(tx, session.id, "its environment is being made: 1 package")

    await store.write(hold)
    assert "No worker has made it" in await site.text(f"/builds/{build.id}")
    pages = (f"/sessions/{session.id}/live", f"/builds/{build.id}/live")
    for number, path in enumerate(pages):
        async with site.browser.stream("GET", path) as answer:
            said = f"Downloading <numpy> {number}"
            await store.write(lambda tx, said=said: builds.note_environment(tx, build.id, "wrk_1", said))
            assert f"Downloading &lt;numpy&gt; {number}" in await heard(answer, f"numpy&gt; {number}")
    await store.write(lambda tx: session_store.explain(tx, session.id, ""))

    assert "What uv says" not in await site.text(f"/sessions/{session.id}")
    assert "Downloading &lt;numpy&gt; 1" in await site.text(f"/builds/{build.id}")


async def test_a_session_shows_its_steps_with_inputs_and_results_and_its_prints(site: Site):
    """
    In the order in which they were committed; what it printed, as it printed it.
    """
    project, _ = await site.project()
    session = await site.session(project)
    epoch = await site.claim(session.id)
    preview = {"args": ["SELECT Id FROM Lead"], "result": {"totalSize": 1}}
    await site.put(session.id, epoch, step(0, "simple_salesforce.Salesforce.query", preview=preview))
    await site.put(session.id, epoch, printed(0, "routed <Ada>\n"))
    await site.put(session.id, epoch, printed(1, "careful", "WARNING"))
    await site.end(session.id, epoch)

    html = await site.text(f"/sessions/{session.id}")
    log = await site.get(f"/sessions/{session.id}/log")

    assert "simple_<wbr>salesforce.<wbr>Salesforce.<wbr>query" in html
    assert "SELECT Id FROM Lead" in html
    assert "&#34;totalSize&#34;: 1" in html
    assert "routed &lt;Ada&gt;" in html
    assert "&#34;routed&#34;: true" in html
    assert re.search(r'class="pill good">completed', html)
    assert "hx-sse:connect" not in html
    assert log.text == "routed <Ada>\ncareful"
    assert log.headers["content-type"] == "text/plain; charset=utf-8"
    assert log.headers["x-content-type-options"] == "nosniff"


async def test_a_failed_session_leads_to_the_step_that_failed(site: Site):
    """
    Error, traceback and step stand on top; all of it escaped.
    """
    project, _ = await site.project()
    session = await site.session(project)
    epoch = await site.claim(session.id)
    await site.put(session.id, epoch, step(0, "time.sleep", kind="wait", status="fired"))
    failed = step(1, "requests.post", status="error", preview={"args": [], "error": "refused"})
    await site.put(session.id, epoch, failed)
    await site.end(session.id, epoch, SessionState.ERROR, ERROR, None)

    html = await site.text(f"/sessions/{session.id}")

    assert "ConnectionError: host &lt;b&gt;hooks.example.com&lt;/b&gt; refused" in html
    assert "main.py, line 31" in html
    assert 'In step <a href="#step-2">' in html
    assert 'id="step-2" class="step failed"' in html
    assert 'id="step-1" class="wait done"' in html
    assert "Run again" in html


async def test_an_error_of_the_code_is_not_laid_at_the_door_of_a_step_that_went_well(site: Site):
    """
    An error names the last step before it; only where that step failed is the error said to be in it.
    """
    project, _ = await site.project()
    session = await site.session(project)
    epoch = await site.claim(session.id)
    await site.put(session.id, epoch, step(0, "requests.post"))
    await site.end(session.id, epoch, SessionState.ERROR, {**ERROR, "seq": 1}, None)

    html = await site.text(f"/sessions/{session.id}")

    assert 'After step <a href="#step-1">' in html
    assert "In step" not in html


async def test_a_session_shows_what_it_was_started_with(site: Site):
    """
    Its input stands on its page, escaped; an empty one takes no room.
    """
    project, _ = await site.project()
    session = await site.session(project, {"lead": "<Ada>"})
    bare = await site.session(project)

    html = await site.text(f"/sessions/{session.id}")
    without = await site.text(f"/sessions/{bare.id}")

    assert "&#34;lead&#34;: &#34;&lt;Ada&gt;&#34;" in html
    assert "h-input" not in without


@pytest.mark.parametrize(
    ("almost", "full", "says"),
    [
        ({"base_seq": 80_000}, {"base_seq": 80_001}, "The journal has 80000 records of the 100000 and 0.0 MB"),
        ({"journal_bytes": 819 << 20}, {"journal_bytes": 820 << 20}, "2 records of the 100000 and 820.0 MB of the 1024 MB"),
    ],
)  # fmt: skip
async def test_a_journal_that_is_nearly_full_is_warned_of_with_the_way_out(
    site: Site, almost: dict[str, int], full: dict[str, int], says: str
):
    """
    While the session runs; at the limit it would end.
    """
    project, _ = await site.project()
    session = await site.session(project)
    epoch = await site.claim(session.id)
    for n in range(2):
        await site.put(session.id, epoch, step(n))
    await _count(site, session.id, almost)
    before = await site.text(f"/sessions/{session.id}")
    await _count(site, session.id, full)

    html = await site.text(f"/sessions/{session.id}")

    assert "ninelives.restart(data)" not in before
    assert says in html
    assert "ninelives.restart(data)" in html


async def _count(site: Site, session_id: str, values: dict[str, int]) -> None:
    """Have a journal of another size, without the records."""
    row = tables.sessions
    await site.services.store.write(
        lambda tx: tx.connection.execute(row.update().where(row.c.id == session_id).values(values)) and None
    )


async def test_a_restart_in_the_middle_is_marked(site: Site):
    """
    The timeline goes on; where one process ended and the next went on is a row of its own.
    """
    project, _ = await site.project()
    session = await site.session(project)
    first = await site.claim(session.id)
    await site.put(session.id, first, step(0))
    await site.die(session.id, first)
    second = await site.claim(session.id)
    await site.put(session.id, second, step(1))

    html = await site.text(f"/sessions/{session.id}")

    assert (
        html.index('id="step-1"')
        < html.index("a new one went on from the journal")
        < html.index('id="step-2"')
    )


async def test_a_session_is_stopped_and_then_killed(site: Site):
    """
    Killing is offered once it has been asked to stop.
    """
    project, _ = await site.project()
    session = await site.session(project)
    await site.claim(session.id)

    asked = await site.after(await site.post(f"/sessions/{session.id}/stop"))
    killed = await site.after(await site.post(f"/sessions/{session.id}/stop", kill="true"))
    found = (await site.services.sessions.get(site.actor, session.id)).session

    assert "Asked to stop" in asked
    assert ">Kill<" in asked
    assert "being killed" in killed
    assert found.stop_requested["kill"] is True


async def test_running_again_takes_the_same_inputs(site: Site):
    """
    A session that somebody started by hand gets a twin with the same inputs.
    """
    project, _ = await site.project()
    session = await site.session(project, {"lead": "Ada"})
    await site.end(session.id, await site.claim(session.id))

    html = await site.after(await site.post(f"/sessions/{session.id}/again"))
    newest = (await site.services.sessions.list(site.actor)).items[0]
    detail = await site.services.events.get(site.actor, newest.event_id)

    assert "This is the new session" in html
    assert newest.id != session.id
    assert newest.entrypoint == session.entrypoint
    assert detail.data == {"lead": "Ada"}


async def test_filters_stand_in_the_address_and_in_the_form(site: Site):
    """
    So that a list can be sent to somebody; the live part and the next page keep them.
    """
    project, _ = await site.project()
    done = await site.session(project)
    await site.end(done.id, await site.claim(done.id))
    waiting = await site.session(project)

    html = await site.text("/sessions?state=completed&since=2026-01-01T00:00")
    none = await site.text("/sessions?record=00Q000000000001")
    other = await site.text("/projects/lead_router/sessions?until=2020-01-01T00:00")

    assert f"row-{done.id}" in html
    assert f"row-{waiting.id}" not in html
    assert '<option value="completed" selected>' in html
    assert 'value="2026-01-01T00:00"' in html
    assert "/sessions/live?state=completed&amp;since=2026-01-01T00%3A00" in html
    assert "No session matches" in none
    assert "No session matches" in other


@pytest.mark.parametrize("query", ["state=lost", "since=yesterday", "until=x", "cursor=x", "project=nobody"])
async def test_a_filter_that_means_nothing_is_said_and_not_ignored(site: Site, query: str):
    """
    An empty list would look like an answer.
    """
    answer = await site.get(f"/sessions?{query}")

    assert answer.status_code in {404, 422}
    assert "Go to the projects" in answer.text


async def test_long_lists_are_paged(site: Site, monkeypatch: pytest.MonkeyPatch):
    """
    A timeline shows the newest steps, and leads to the first; a list of sessions leads to older ones.
    """
    monkeypatch.setattr(sessions, "STEPS", 3)
    monkeypatch.setattr(tails, "CHUNK", 2)
    project, _ = await site.project()
    session = await site.session(project)
    epoch = await site.claim(session.id)
    for n in range(8):
        await site.put(session.id, epoch, step(n, f"call_{n}"))

    newest = await site.text(f"/sessions/{session.id}")
    first = await site.text(f"/sessions/{session.id}/steps")
    second = await site.text(f"/sessions/{session.id}/steps?after=3")

    assert [f'id="step-{n}"' in newest for n in range(1, 9)] == [False] * 5 + [True] * 3
    assert "From the beginning" in newest
    assert 'id="step-1"' in first
    assert f"/sessions/{session.id}/steps?after=3" in first
    assert 'id="step-4"' in second


async def heard(answer: httpx2.Response, until: str) -> str:
    """Read a stream until a text has come."""
    text = ""
    async with asyncio.timeout(30):
        async for part in answer.aiter_text():
            text += part
            if until in text:
                return text
    raise AssertionError(f"the stream ended without {until!r}: {text[-2000:]}")


async def test_a_session_page_is_told_of_each_change_and_of_the_end(site: Site):
    """
    The stream sends the part as it is now, again at each change, and closes when the session has ended.
    """
    project, _ = await site.project()
    session = await site.session(project)
    async with site.browser.stream("GET", f"/sessions/{session.id}/live") as answer:
        parts = answer.aiter_text()
        text = await anext(parts)
        epoch = await site.claim(session.id)
        await site.put(session.id, epoch, step(0, "first_call"))
        await site.put(session.id, epoch, printed(0, "hello"))
        await site.end(session.id, epoch)
        async with asyncio.timeout(30):
            async for part in parts:
                text += part

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "Waiting to start" in text
    assert "first_<wbr>call" in text
    assert text.endswith(live.OVER)
    last = text.rpartition('data: <div class="title">')[2]
    assert '<span class="pill good">completed</span>' in last


async def test_a_stream_ends_when_the_login_does(site: Site, monkeypatch: pytest.MonkeyPatch):
    """
    Who has logged out elsewhere sees nothing new.
    """
    project, _ = await site.project()
    session = await site.session(project)
    async with site.browser.stream("GET", f"/sessions/{session.id}/live") as answer:
        parts = answer.aiter_text()
        await anext(parts)
        await site.post("/logout")
        epoch = await site.claim(session.id)
        await site.put(session.id, epoch, step(0, "secret_call"))
        async with asyncio.timeout(30):
            rest = "".join([part async for part in parts])

    assert rest == live.OVER


async def test_streams_end_when_the_server_stops(site: Site):
    """
    A page that is looked at must not hold the server up.
    """
    project, _ = await site.project()
    session = await site.session(project)
    async with site.browser.stream("GET", f"/sessions/{session.id}/live") as answer:
        parts = answer.aiter_text()
        await anext(parts)
        site.services.stopping.set()
        async with asyncio.timeout(30):
            rest = [part async for part in parts]

    assert rest == []


async def test_a_new_session_appears_in_the_lists(site: Site):
    """
    Of all projects, of its own project, on the overview and among the projects.
    """
    project, _ = await site.project()
    for path in ("/sessions/live", "/projects/lead_router/sessions/live", "/projects/lead_router/live"):
        async with site.browser.stream("GET", path) as answer:
            parts = answer.aiter_text()
            await anext(parts)
            session = await site.session(project)
            async with asyncio.timeout(30):
                text = ""
                while session.id not in text:
                    text += await anext(parts)


async def test_a_session_of_an_event_is_run_again_by_its_event(site: Site):
    """
    A copy of the event is dispatched, and its page says what became of it.
    """
    project, _ = await site.project()
    trigger = await factories.a_trigger(site.services.store, project)
    hooked = await httpx2.AsyncClient(trust_env=False).post(f"{site.url}/webhooks/{trigger.slug}", json={})
    event = await site.services.events.redispatch(site.actor, hooked.json()["event_id"])
    session_id = event.dispatch[0]["session_id"]
    await site.end(session_id, await site.claim(session_id))

    html = await site.after(await site.post(f"/sessions/{session_id}/again"))

    assert "dispatched again" in html
    assert re.search(r"/sessions/ses_\w+", html)


async def test_a_session_is_rerun_from_one_of_its_steps(site: Site):
    """
    Each step offers it; the new session's page shows what it took over and where that ends.
    """
    project, _ = await site.project()
    session = await site.session(project)
    epoch = await site.claim(session.id)
    for n in range(3):
        await site.put(session.id, epoch, step(n, f"requests.get_{n}"))
    await site.end(session.id, epoch)

    html = await site.text(f"/sessions/{session.id}")
    after = await site.after(await site.post(f"/sessions/{session.id}/fork", from_step="2"))
    newest = (await site.services.sessions.list(site.actor)).items[0]
    await site.put(newest.id, await site.claim(newest.id), step(1, "requests.get_again"))
    went_on = await site.text(f"/sessions/{newest.id}")

    assert html.count("Rerun from here") == 3
    assert "on the newest build" not in html
    assert "goes on from step 2 of the other one" in after
    assert f"/sessions/{session.id}" in after
    assert "requests.<wbr>get_<wbr>0" in after
    assert "requests.<wbr>get_<wbr>1" not in after
    assert "Forked here" in went_on


async def test_a_rerun_from_a_step_that_there_is_not_is_refused(site: Site):
    """
    The answer says which there are, and nothing is made.
    """
    project, _ = await site.project()
    session = await site.session(project)
    epoch = await site.claim(session.id)
    await site.put(session.id, epoch, step(0, "requests.get"))
    await site.end(session.id, epoch)
    made = (await site.services.sessions.list(site.actor)).items

    answer = await site.post(f"/sessions/{session.id}/fork", from_step="9")

    assert answer.status_code == 422
    assert "it can be forked from 1 to 2" in answer.text
    assert len((await site.services.sessions.list(site.actor)).items) == len(made)


async def test_a_function_that_makes_too_many_short_steps_is_named_with_the_line_that_helps(site: Site):
    """
    More than 1,000 steps of less than 1 ms: recording them took longer than they did.
    """
    project, _ = await site.project()
    session = await site.session(project)
    epoch = await site.claim(session.id)
    for n in range(sessions.MANY + 1):
        made = step(n, "vendor.parse")
        await site.put(session.id, epoch, made._replace(ended_at=made.started_at))

    html = await site.text(f"/sessions/{session.id}")

    assert "1,001 steps of less than 1 ms" in html
    assert "ninelives.register_no_activity([vendor.parse])" in html
