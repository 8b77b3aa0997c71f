"""The redirect handler: from the provider's answer to saved tokens, or to an outcome that says what to do."""

import asyncio
from datetime import timedelta

import pytest
from connections_world import World

from ninelives_server.connections.flows import Started
from ninelives_server.model.connections import Connection, ConnectionState
from ninelives_server.store import oauth_flows
from ninelives_server.store.core import SqliteStore


async def test_allowing_access_connects_the_account(any_world: World):
    """The code is exchanged, the identity fetched and everything saved before the outcome is shown."""
    world = any_world
    connection = await world.create()
    assert connection.state is ConnectionState.INIT_REQUIRED

    started = await world.started(connection)
    outcome = await world.land(started, await world.visit(started))

    assert outcome.ok, outcome
    found = await world.state(connection)
    details = world.org.details
    assert found.state is ConnectionState.OK
    assert found.account is not None
    assert found.account.org_id == details.org_id
    assert found.account.user == details.username
    assert found.account.org_name
    assert found.account.instance_url == details.instance_url
    assert found.account_key == f"{details.org_id}:{found.account.user_id}"
    assert set(found.account.scopes) == {"api", "refresh_token"}
    facts = dict(outcome.facts)
    assert details.org_id in facts["Organisation"]
    assert facts["User"] == details.username
    assert await world.secret_names(connection) == {
        "client_secret",
        "access_token",
        "refresh_token",
        "token_facts",
    }
    assert "connection.authorised" in await world.actions()


async def refused(world: World, query: dict[str, str] | None = None, *, connection: Connection | None = None):
    """Come back with this query, or with what the org says; return outcome and connection."""
    connection = connection or await world.create()
    started = await world.started(connection)
    query = (
        await world.visit(started) if query is None else {**query, "state": await state_of(world, started)}
    )
    outcome = await world.land(started, query)
    assert not outcome.ok
    assert outcome.next_steps, "every failure says what to do"
    assert outcome.can_retry
    return outcome, await world.state(connection)


async def state_of(world: World, started: Started) -> str:
    """Return the state that the authorize address carries."""
    return started.authorize_url.partition("state=")[2].partition("&")[0]


async def test_denied_consent_says_so(world: World):
    """`Deny` ends on a page with Retry, and the connection keeps what was entered."""
    connection = await world.create()
    started = await world.started(connection)

    outcome = await world.land(started, await world.visit(started, decision="deny"))

    assert "denied" in outcome.message
    assert "access_denied" in outcome.provider_words
    assert outcome.can_retry
    found = await world.state(connection)
    assert found.state is ConnectionState.INIT_REQUIRED
    assert found.settings["client_id"] == world.org.details.client_id
    assert "connection.authorisation_failed" in await world.actions()


async def test_a_wrong_secret_names_the_field(world: World):
    """The provider's `invalid_client` is told in the words of the form."""
    connection = await world.create(secret="not the secret")

    outcome, found = await refused(world, connection=connection)

    assert "Client Secret" in outcome.message
    assert "Consumer" in outcome.next_steps[0]
    assert "not the secret" not in repr(outcome)
    assert found.account is None


@pytest.mark.parametrize(
    ("error", "description", "expected"),
    [
        ("OAUTH_APP_BLOCKED", "this app is blocked by admin", "administrator"),
        ("OAUTH_APPROVAL_ERROR_GENERIC", "An unexpected error has occurred", "not installed"),
        ("OAUTH_EC_APP_NOT_FOUND", "External client app is not installed", "does not have"),
        ("invalid_scope", "the requested scope is not allowed", "scopes"),
        ("access-denied", "end-user denied authorization", "denied"),
        ("something_new", "<script>alert(1)</script>", "refuses"),
    ],
)
async def test_what_is_sent_back_is_explained(world: World, error: str, description: str, expected: str):
    """Each of the provider's texts has a sentence and steps; an unknown one is shown as it is."""
    outcome, _ = await refused(world, {"error": error, "error_description": description})

    assert expected in outcome.message
    assert error in outcome.provider_words


async def test_an_app_without_refresh_tokens_is_refused_with_the_way_out(world: World):
    """Saved as healthy it would die within hours."""
    world.org.control.edit_app(world.org.details.client_id, scopes=["api", "refresh_token"])
    connection = await world.create()
    started = await world.started(connection)
    query = await world.visit(started)
    world.org.control.fail(
        "POST",
        "/services/oauth2/token",
        200,
        {
            "access_token": "00D!x",
            "instance_url": world.org.details.instance_url,
            "scope": "api",
            "id": "https://login.salesforce.com/id/00D000000000001AAA/005000000000001AAA",
        },
    )

    outcome = await world.land(started, query)

    assert not outcome.ok
    assert "refresh token" in outcome.message
    assert any("refresh_token, offline_access" in step for step in outcome.next_steps)
    assert await world.secret_names(connection) == {"client_secret"}
    revoked = world.org.control.requests(method="POST", path="/services/oauth2/revoke")
    assert revoked, "what was given for nothing is given back"


async def test_the_redirect_again_shows_the_same_outcome(world: World):
    """Loading the callback a second time neither spends the code again nor loses the outcome."""
    connection = await world.create()
    started = await world.started(connection)
    query = await world.visit(started)
    first = await world.land(started, query)

    again = await world.land(started, query)

    assert again == first
    assert len(world.token_requests("authorization_code")) == 1


async def test_ten_redirects_at_once_exchange_the_code_once(any_world: World):
    """State is single use, whoever is first."""
    world = any_world
    connection = await world.create()
    started = await world.started(connection)
    query = await world.visit(started)

    outcomes = await asyncio.gather(*(world.land(started, query) for _ in range(10)))

    assert len(world.token_requests("authorization_code")) == 1
    assert any(outcome.ok for outcome in outcomes)
    assert all(outcome.ok or outcome.pending for outcome in outcomes)


async def test_another_browser_cannot_finish_a_flow(world: World):
    """An attacker who sends their own callback address to somebody else must not get their account bound."""
    connection = await world.create()
    started = await world.started(connection)
    other = await world.started(await world.create("other"))
    query = await world.visit(started)

    for cookies in ({}, {other.cookie_name: other.cookie_value}, {started.cookie_name: other.cookie_value}):
        finished = await world.flows.finish("salesforce", query, cookies)
        assert finished.page == "other-browser"
        assert not (await world.flows.outcome(finished.page, cookies)).ok

    assert world.token_requests("authorization_code") == []
    assert (await world.land(started, query)).ok, "the right browser still can"


async def test_a_made_up_state_is_refused(world: World):
    """Nothing is asked of the provider for a state that nobody issued."""
    finished = await world.flows.finish("salesforce", {"state": "made-up", "code": "aPrx"}, {})
    missing = await world.flows.finish("salesforce", {"code": "aPrx"}, {})

    assert finished.page == "unknown"
    assert missing.page == "no-state"
    assert not (await world.flows.outcome("no-state", {})).ok
    assert world.token_requests("authorization_code") == []


async def test_a_state_belongs_to_its_integration(world: World):
    """The redirect of another integration must not finish this one's flow."""
    started = await world.started(await world.create())
    query = await world.visit(started)

    finished = await world.flows.finish("slack", query, {started.cookie_name: started.cookie_value})

    assert finished.page == "unknown"


async def test_a_state_expires_after_ten_minutes(world: World):
    """A page that was left open over lunch ends with an outcome and Retry, not with an error page."""
    assert isinstance(world.store, SqliteStore)
    clock = world.store._clock
    started = await world.started(await world.create())
    query = await world.visit(started)

    class Later:
        def now(self):
            return clock.now() + timedelta(minutes=10)

    world.store._clock = Later()
    outcome = await world.land(started, query)

    assert "expired" in outcome.title
    assert outcome.can_retry
    assert world.token_requests("authorization_code") == []


async def test_the_outcome_is_for_the_browser_that_started(world: World):
    """Whoever guesses a flow id learns nothing."""
    connection = await world.connect()
    started = await world.started(connection)

    assert (await world.flows.outcome(started.flow_id, {})).title == "This authorisation is not known"
    assert (await world.flows.outcome(started.flow_id, {started.cookie_name: started.cookie_value})).pending


async def test_a_provider_that_cannot_be_reached_is_an_outcome(world: World):
    """No answer to the exchange: nothing is connected, and the page says so."""
    connection = await world.create()
    started = await world.started(connection)
    query = await world.visit(started)
    world.org.control.fail("POST", "/services/oauth2/token", 503, "<html>Down for Maintenance</html>")

    outcome = await world.land(started, query)

    assert not outcome.ok
    assert "503" in outcome.provider_words
    assert (await world.state(connection)).account is None


async def test_an_api_that_is_not_usable_is_told_at_once(world: World):
    """The grant is kept, the state and the outcome name the administrator's step."""
    connection = await world.create()
    started = await world.started(connection)
    query = await world.visit(started)
    world.org.control.fail(
        "GET",
        "/services/data/*",
        403,
        [{"errorCode": "API_CURRENTLY_DISABLED", "message": "API is disabled for this User"}],
        times=5,
    )

    outcome = await world.land(started, query)

    assert not outcome.ok
    assert "API" in outcome.message
    found = await world.state(connection)
    assert found.state is ConnectionState.NEEDS_ADMIN
    assert "API is disabled for this User" in found.provider_reason


async def test_a_browser_that_goes_away_does_not_lose_the_grant(world: World):
    """Between the exchange and the save nothing may be cancelled: the code is spent."""
    connection = await world.create()
    started = await world.started(connection)
    query = await world.visit(started)
    rule = world.org.control.hold("POST", "/services/oauth2/token")
    landing = asyncio.create_task(
        world.flows.finish("salesforce", query, {started.cookie_name: started.cookie_value})
    )
    await asyncio.to_thread(world.org.control.hold_state, rule, wait_arrived=1)

    landing.cancel()
    world.org.control.release(rule)
    await world.flows.close()

    assert (await world.state(connection)).state is ConnectionState.OK


async def test_a_user_who_was_removed_meanwhile_connects_nothing(world: World):
    """The redirect has no login, so membership is looked at again."""
    from ninelives_server.store.tables import users

    connection = await world.create()
    started = await world.started(connection)
    query = await world.visit(started)
    await world.store.write(lambda tx: tx.connection.execute(users.update().values(disabled_at=tx.now)))

    outcome = await world.land(started, query)

    assert "member" in outcome.message
    assert world.token_requests("authorization_code") == []


async def test_connecting_another_account_ends_the_old_grant(world: World):
    """The old account's grant would live on at the provider, known to nobody."""
    connection = await world.connect()
    world.org.control.add_user("bea@example.org", "Passw0rd!", "Bea", "Other")
    started = await world.started(connection)
    details = world.org.details

    from ninelives_server.testing.fake_salesforce.visitor import Visitor

    def visit() -> str:
        with Visitor(username="bea@example.org", password="Passw0rd!", ca_file=details.ca_file) as visitor:
            return visitor.authorize(started.authorize_url)

    from urllib.parse import parse_qsl, urlsplit

    callback = await asyncio.to_thread(visit)
    outcome = await world.land(started, dict(parse_qsl(urlsplit(callback).query)))

    assert outcome.ok
    assert any(details.username in step for step in outcome.next_steps), "the change of account is told"
    live = [g["username"] for g in world.org.control.tokens()["grants"] if g["ended"] is None]
    assert live == ["bea@example.org"]
    assert (await world.state(connection)).account.user == "bea@example.org"


async def test_the_verifier_is_gone_once_it_was_used(world: World):
    """A secret that is not needed any more is not kept."""
    connection = await world.create()
    started = await world.started(connection)
    await world.land(started, await world.visit(started))

    row = await world.store.read(lambda tx: oauth_flows.by_id(tx, started.flow_id))

    assert row is not None
    assert row.sealed_verifier is None
    assert row.status == "done"
