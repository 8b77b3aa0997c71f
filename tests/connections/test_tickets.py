"""Start links: good once, for ten minutes, and useless to a stranger who is sent one."""

from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import factories
import pytest
from connections_world import CALLBACK, World

from ninelives_server import errors
from ninelives_server.connections import tickets
from ninelives_server.connections.flows import Outcome, Started, StartPage
from ninelives_server.connections.tickets import new_code, plain
from ninelives_server.model.actors import Role
from ninelives_server.store import oauth_flows
from ninelives_server.store.core import SqliteStore


class Later:
    """The store's clock, some time ahead."""

    def __init__(self, world: World, ahead: timedelta) -> None:
        assert isinstance(world.store, SqliteStore)
        self._clock, self._ahead = world.store._clock, ahead
        world.store._clock = self

    def now(self):
        return self._clock.now() + self._ahead


async def test_the_start_page_shows_who_asks_for_what_and_uses_nothing_up(world: World):
    """A person must see user, project, connection and integration before pressing anything."""
    connection = await world.create()
    link = await world.connections.begin(world.actor, connection.id)

    pages = [await world.flows.show_start(connection.id, link.ticket, world.actor) for _ in range(3)]

    page = pages[-1]
    assert isinstance(page, StartPage)
    assert (page.user_name, page.project_name, page.connection_name) == ("ada", "lead_router", "crm")
    assert page.integration_title == "Salesforce"
    assert page.callback_url == CALLBACK
    assert page.host == urlsplit(world.org.details.login_url).netloc
    assert not page.needs_code
    assert isinstance(await world.flows.start(connection.id, link.ticket, browser=world.actor), Started)


async def test_the_link_leaves_from_the_public_address(world: World):
    """The flow cookie lives on the host of the callback, so the flow must start there."""
    connection = await world.create()

    link = await world.connections.begin(world.actor, connection.id)

    assert link.url == f"http://localhost:9980/oauth/start/{connection.id}?ticket={link.ticket}"
    assert link.ticket not in repr(link)
    assert link.code not in repr(link)


async def test_a_ticket_is_good_for_one_start(world: World):
    """Using it twice would let a second person go on with the first one's flow."""
    connection = await world.create()
    link = await world.connections.begin(world.actor, connection.id)
    await world.flows.start(connection.id, link.ticket, browser=world.actor)

    again = await world.flows.start(connection.id, link.ticket, browser=world.actor)
    shown = await world.flows.show_start(connection.id, link.ticket, world.actor)

    assert isinstance(again, Outcome)
    assert isinstance(shown, Outcome)
    assert "does not work" in again.title


async def test_a_ticket_is_good_for_its_connection_only(world: World):
    """A ticket of one connection must not start another one."""
    first, second = await world.create("first"), await world.create("second")
    link = await world.connections.begin(world.actor, first.id)

    assert isinstance(await world.flows.start(second.id, link.ticket, browser=world.actor), Outcome)


async def test_a_ticket_expires_after_ten_minutes(world: World):
    """An old link in a chat must not be of use."""
    connection = await world.create()
    link = await world.connections.begin(world.actor, connection.id)
    Later(world, timedelta(minutes=10))

    found = await world.flows.start(connection.id, link.ticket, browser=world.actor)

    assert isinstance(found, Outcome)
    assert "expired" in found.title


@pytest.mark.parametrize("browser", ["nobody", "another user", "same name elsewhere"])
async def test_a_browser_without_the_askers_login_must_know_the_short_code(world: World, browser: str):
    """
    Else a link that is sent to a stranger would bind the stranger's account to the sender's connection.
    """
    connection = await world.create()
    other = await factories.a_person(world.store, name="bob", org_id=world.actor.org_id, role=Role.ADMIN)
    elsewhere = replace(world.actor, org_id="org_elsewhere")
    visitor = {"nobody": None, "another user": other, "same name elsewhere": elsewhere}[browser]
    link = await world.connections.begin(world.actor, connection.id)

    page = await world.flows.show_start(connection.id, link.ticket, visitor)
    without = await world.flows.start(connection.id, link.ticket, None, visitor)
    wrong = await world.flows.start(connection.id, link.ticket, "aaaa-aaaa", visitor)
    typed = f" {link.code.upper().replace('-', ' ')} "
    right = await world.flows.start(connection.id, link.ticket, typed, visitor)

    assert isinstance(page, StartPage)
    assert page.needs_code
    assert isinstance(without, StartPage)
    assert isinstance(wrong, StartPage)
    assert "3 tries are left" in wrong.error
    assert isinstance(right, Started)


async def test_five_wrong_codes_end_the_link(world: World):
    """The tries are counted in the database: nobody can guess on."""
    connection = await world.create()
    link = await world.connections.begin(world.actor, connection.id)
    for _ in range(5):
        last = await world.flows.start(connection.id, link.ticket, "zzzz-zzzz", None)

    right = await world.flows.start(connection.id, link.ticket, link.code, None)
    own_login = await world.flows.start(connection.id, link.ticket, None, world.actor)

    assert isinstance(last, Outcome)
    assert isinstance(right, Outcome)
    assert isinstance(own_login, Outcome)


async def test_the_authorize_address_carries_state_challenge_and_the_exact_callback(world: World):
    """PKCE S256 always; neither verifier nor secret is ever part of an address."""
    connection = await world.create()

    started = await world.started(connection)

    query = {k: v[0] for k, v in parse_qs(urlsplit(started.authorize_url).query).items()}
    assert query["redirect_uri"] == started.callback_url == CALLBACK
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert len(query["code_challenge"]) == 43
    assert len(query["state"]) == 43
    assert query["client_id"] == world.org.details.client_id
    assert world.org.details.client_secret not in started.authorize_url
    assert "code_verifier" not in query


async def test_state_cookie_ticket_and_verifier_are_stored_unreadable(world: World):
    """Whoever reads the database cannot go on with a flow."""
    connection = await world.create()
    started = await world.started(connection)
    query = {k: v[0] for k, v in parse_qs(urlsplit(started.authorize_url).query).items()}

    row = await world.store.read(lambda tx: oauth_flows.by_id(tx, started.flow_id))

    assert row is not None
    assert row.ticket_hash is None
    for secret in (query["state"], started.cookie_value):
        assert secret.encode() not in (row.state_hash or b"") + (row.cookie_hash or b"")
    assert row.sealed_verifier is not None
    assert len(row.sealed_verifier) > 86
    assert started.cookie_value not in repr(row)


async def test_the_cookie_is_for_this_flow_on_this_path(world: World):
    """Two flows of one browser must not disturb each other; a path prefix of the public address is kept."""
    first = await world.started(await world.create("first"))
    second = await world.started(await world.create("second"))

    assert first.cookie_name != second.cookie_name
    assert first.cookie_path == "/oauth"
    assert not first.cookie_secure


async def test_a_viewer_cannot_begin(world: World):
    """Connecting an account changes the project."""
    connection = await world.create()
    viewer = await factories.a_person(world.store, name="vera", org_id=world.actor.org_id, role=Role.VIEWER)

    with pytest.raises(errors.Forbidden):
        await world.connections.begin(viewer, connection.id)


async def test_a_connection_without_its_app_cannot_begin(world: World):
    """One that a manifest brought has no client id yet; no other app is ever used in its place."""
    connection = await factories.a_connection(world.store, world.project, name="bare")

    with pytest.raises(errors.Conflict, match="no Client ID and no Client Secret"):
        await world.connections.begin(world.actor, connection.id)


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil", "javascript:x"])
async def test_the_way_back_stays_on_this_server(world: World, target: str):
    """`return_to` must not make the outcome page a door to elsewhere."""
    connection = await world.create()

    with pytest.raises(errors.Invalid):
        await world.connections.begin(world.actor, connection.id, return_to=target)


async def test_retry_needs_the_cookie_of_the_flow(world: World):
    """The browser that started may start anew, with everything kept; nobody else may."""
    connection = await world.create()
    started = await world.started(connection)
    cookies = {started.cookie_name: started.cookie_value}

    stranger = await world.flows.retry(started.flow_id, {})
    again = await world.flows.retry(started.flow_id, cookies)

    assert isinstance(stranger, Outcome)
    assert isinstance(again, Started)
    assert again.flow_id != started.flow_id
    assert again.authorize_url != started.authorize_url
    outcome = await world.land(again, await world.visit(again))
    assert outcome.ok


async def test_whoever_waits_hears_of_the_retry(world: World):
    """
    Salesforce keeps some errors to itself, so the first flow never ends: the page beside it and `connection
    init` must show how the second one ended.
    """
    connection = await world.create()
    link = await world.connections.begin(world.actor, connection.id)
    started = await world.flows.start(connection.id, link.ticket, browser=world.actor)
    assert isinstance(started, Started)
    cookies = {started.cookie_name: started.cookie_value}
    again = await world.flows.retry(started.flow_id, cookies)
    assert isinstance(again, Started)
    assert isinstance(await world.flows.waiting(started.flow_id, cookies), Started)

    with world.store.notices.subscribed("flow", started.flow_id) as notice:
        await world.land(again, await world.visit(again))

        assert notice.is_set()
    page = await world.flows.waiting(started.flow_id, cookies)
    assert isinstance(page, Outcome)
    assert page.ok
    status = await world.connections.flow_status(world.actor, link.flow_id)
    assert status.status == "done"
    assert status.outcome is not None


async def test_the_waiting_page_explains_what_the_provider_never_sends_back(world: World):
    """It shows the callback as sent and the likely causes; it never repeats the address with the state."""
    connection = await world.create()
    started = await world.started(connection)

    page = await world.flows.waiting(started.flow_id, {started.cookie_name: started.cookie_value})
    stranger = await world.flows.waiting(started.flow_id, {})

    assert isinstance(page, Started)
    assert page.authorize_url == ""
    assert page.cookie_value == ""
    assert page.callback_url == CALLBACK
    seen = " ".join(hint.seen for hint in page.hints)
    for text in (
        "redirect_uri_mismatch",
        "invalid_client_id",
        "missing required code challenge",
        "authorize",
    ):
        assert text in seen
    assert "ten minutes" in " ".join(hint.next_step for hint in page.hints)
    assert isinstance(stranger, Outcome)


def test_short_codes_are_easy_to_type():
    """No character that looks like another one; blanks, dashes and case do not matter."""
    code = new_code()

    assert len(plain(code)) == 8
    assert not set(plain(code)) & set("01loi")
    assert plain(code.upper().replace("-", " ")) == plain(code)
    assert tickets.LIFE == timedelta(minutes=10)
