"""One owner of refresh: each test tries to get two requests out with one token, or to lose a rotated one."""

import asyncio
from datetime import timedelta

import pytest
from connections_world import World

from ninelives_server import errors
from ninelives_server.connections import refresh
from ninelives_server.connections.parts import parts
from ninelives_server.connections.refresh import Refresher
from ninelives_server.connections.safe import Safe
from ninelives_server.model.actors import Actor
from ninelives_server.model.connections import Connection, ConnectionState
from ninelives_server.oauth.tokens import TokenSet
from ninelives_server.store import connections, refreshes
from ninelives_server.store.core import SqliteStore, Tx

TOKEN = "/services/oauth2/token"


async def tokens_of(world: World, connection: Connection) -> TokenSet:
    """Return what is in the safe."""

    def look(tx: Tx) -> TokenSet:
        found = connections.by_id(tx, connection.id)
        assert found is not None
        tokens = Safe(world.vault).tokens(tx, found)
        assert tokens is not None
        return tokens

    return await world.store.read(look)


async def row_of(world: World, connection: Connection) -> refreshes.Refresh:
    """Return the refresh row."""
    return await world.store.read(lambda tx: refreshes.of(tx, connection.id))


def use(world: World, connection: Connection, refused: str | None = None, words: str = ""):
    """Ask for a token as a session does."""
    return world.connections.access_token(connection.id, world.actor, refused, words)


async def test_thirty_callers_of_three_servers_send_one_request(any_world: World):
    """
    Rotation ends the whole grant when a refresh token is used twice. Thirty callers whose token was refused,
    on three servers with one database, must cause exactly one request and all get its result.
    """
    world = any_world
    connection = await world.connect()
    old = (await use(world, connection)).token
    world.org.control.expire_sessions()
    servers = [world.connections, world.another_server(), world.another_server()]

    found = await asyncio.gather(
        *(servers[i % 3].access_token(connection.id, world.actor, old) for i in range(30))
    )

    assert len(world.token_requests()) == 1
    assert len({token.token for token in found}) == 1
    assert found[0].token != old
    assert world.org.control.tokens()["grants_live"] == 1
    for server in servers[1:]:
        await server.close()


async def test_thirty_forced_refreshes_at_once_send_one_request(world: World):
    """Whoever finds that a newer grant was saved while they waited uses it instead of refreshing again."""
    connection = await world.connect()
    servers = [world.another_server() for _ in range(3)]

    await asyncio.gather(*(servers[i % 3].refresh(world.actor, connection.id) for i in range(30)))

    assert len(world.token_requests()) == 1
    for server in servers:
        await server.close()


async def test_the_rotated_refresh_token_is_saved_before_anybody_gets_the_access_token(world: World):
    """Each refresh brings a new refresh token; the next one must use that one, many times over."""
    connection = await world.connect()
    seen = {(await tokens_of(world, connection)).refresh_token}

    for _ in range(4):
        await world.connections.refresh(world.actor, connection.id)
        seen.add((await tokens_of(world, connection)).refresh_token)

    assert len(seen) == 5
    assert (await world.state(connection)).generation == 5
    assert (await world.state(connection)).state is ConnectionState.OK


async def test_without_rotation_the_old_refresh_token_is_kept(world: World):
    """An answer without a refresh token must not erase the one that there is."""
    world.org.control.edit_app(world.org.details.client_id, rotate_refresh_tokens=False)
    connection = await world.connect()
    before = await tokens_of(world, connection)

    await world.connections.refresh(world.actor, connection.id)

    after = await tokens_of(world, connection)
    assert after.refresh_token == before.refresh_token
    assert after.access_token != before.access_token
    assert after.extra["instance_url"] == world.org.details.instance_url


async def test_no_scope_is_ever_sent_to_the_token_endpoint(world: World):
    """Salesforce refuses the parameter on every grant."""
    connection = await world.connect()

    await world.connections.refresh(world.actor, connection.id)

    sent = world.token_requests() + world.token_requests("authorization_code")
    assert len(sent) == 2
    assert all("scope" not in body for body in sent)


async def test_no_transaction_is_open_while_the_provider_thinks(any_world: World):
    """While the answer is held back, other units commit: the lease is a row and not a lock."""
    world = any_world
    connection = await world.connect()
    rule = world.org.control.hold("POST", TOKEN)
    refreshing = asyncio.create_task(world.connections.refresh(world.actor, connection.id))
    await asyncio.to_thread(world.org.control.hold_state, rule, wait_arrived=1)

    held = await row_of(world, connection)
    async with asyncio.timeout(5):
        await world.connections.edit(world.actor, connection.id, name="renamed")

    assert held.lease_owner is not None
    assert held.intent_at is not None
    assert held.intent_generation == connection.generation
    world.org.control.release(rule)
    assert (await refreshing).state is ConnectionState.OK
    after = await row_of(world, connection)
    assert (after.lease_owner, after.intent_at) == (None, None)


async def test_a_caller_that_gives_up_does_not_lose_the_answer(world: World):
    """A cancelled session must not take the request along: its rotated token has to be saved."""
    connection = await world.connect()
    rule = world.org.control.hold("POST", TOKEN)
    caller = asyncio.create_task(world.connections.refresh(world.actor, connection.id))
    await asyncio.to_thread(world.org.control.hold_state, rule, wait_arrived=1)

    caller.cancel()
    world.org.control.release(rule)
    await world.connections.close()

    assert (await world.state(connection)).generation == connection.generation + 1
    await world.connections.refresh(world.actor, connection.id)


async def test_a_hiccup_keeps_the_token_in_use_and_the_connection_degraded(world: World):
    """After 503 a token that nobody reported may still be used; nothing is deleted."""
    connection = await world.connect()
    before = await tokens_of(world, connection)
    world.org.control.fail("POST", TOKEN, 503, "<html>Down for Maintenance</html>")

    with pytest.raises(errors.Transient, match="tried again"):
        await world.connections.refresh(world.actor, connection.id)

    found = await world.state(connection)
    assert found.state is ConnectionState.DEGRADED
    assert (await row_of(world, connection)).retry_at is not None
    assert (await tokens_of(world, connection)) == before
    assert (await use(world, connection)).token == before.access_token


async def test_a_refused_token_is_never_handed_out_again(world: World):
    """One that was reported with a 401 is not used after a hiccup either: the caller gets a typed error."""
    connection = await world.connect()
    refused = (await use(world, connection)).token
    world.org.control.expire_sessions()
    world.org.control.fail("POST", TOKEN, 503, "busy")

    with pytest.raises(errors.Transient):
        await use(world, connection, refused)
    with pytest.raises(errors.Transient):  # also for a caller who has not seen the 401
        await use(world, connection)

    assert len(world.token_requests()) == 1, "it backs off"


async def test_a_refused_token_that_comes_back_is_a_policy_and_no_loop(world: World):
    """Where a refresh returns the very token that was refused, refreshing again would never end."""
    connection = await world.connect()
    world.org.control.set_behaviour(reuse_access_token=True)
    refused = (await use(world, connection)).token

    with pytest.raises(errors.NeedsAdmin):
        await use(world, connection, refused)
    with pytest.raises(errors.NeedsAdmin):
        await use(world, connection)

    assert (await world.state(connection)).state is ConnectionState.NEEDS_ADMIN
    assert len(world.token_requests()) == 1
    assert "refresh_token" in await world.secret_names(connection), "the rotated token was saved all the same"


async def test_some_refusals_are_not_cured_by_a_refresh(world: World):
    """`not valid for use with the REST API` is a policy: no request is spent on it, and it says what to do."""
    connection = await world.connect()
    token = (await use(world, connection)).token

    with pytest.raises(errors.NeedsAdmin, match="doctor"):
        await use(world, connection, token, "This session is not valid for use with the REST API")

    found = await world.state(connection)
    assert found.state is ConnectionState.NEEDS_ADMIN
    assert "not valid for use with the REST API" in found.provider_reason
    assert world.token_requests() == []


async def test_a_dead_grant_is_final_and_deletes_nothing(world: World):
    """`expired access/refresh token` needs the user; it is said at once and not asked again."""
    connection = await world.connect()
    token = (await use(world, connection)).token
    world.org.control.revoke_grants()

    for _ in range(3):
        with pytest.raises(errors.NeedsReauth, match="connection init"):
            await use(world, connection, token)

    found = await world.state(connection)
    assert found.state is ConnectionState.NEEDS_REAUTH
    assert "expired access/refresh token" in found.provider_reason
    assert len(world.token_requests()) == 1
    assert await world.secret_names(connection) >= {"client_secret", "refresh_token", "access_token"}


async def test_a_wrong_secret_is_for_the_owner_and_ends_with_the_right_one(world: World):
    """A rotated client secret is no dead grant: the connection works again as soon as it is entered."""
    connection = await world.connect()
    secret = world.org.control.rotate_secret(world.org.details.client_id)

    with pytest.raises(errors.NeedsAdmin, match="Client Secret"):
        await world.connections.refresh(world.actor, connection.id)
    assert (await world.state(connection)).state is ConnectionState.NEEDS_ADMIN
    await world.connections.edit(world.actor, connection.id, secrets={"client_secret": secret})

    assert (await use(world, connection)).token
    assert (await world.state(connection)).state is ConnectionState.OK


async def test_an_inactive_user_is_named(world: World):
    """A frozen user looks like any dead grant, unless the words are read."""
    connection = await world.connect()
    world.org.control.set_user_active(world.org.details.username, active=False)

    with pytest.raises(errors.NeedsReauth):
        await world.connections.refresh(world.actor, connection.id)

    assert "deactivated or frozen" in (await world.state(connection)).reason


async def test_a_reconnect_while_a_refresh_is_under_way_wins(world: World):
    """The answer of the old grant must not be saved over the new one."""
    connection = await world.connect()
    started = await world.started(connection)
    query = await world.visit(started)
    rule = world.org.control.hold("POST", TOKEN)
    refreshing = asyncio.create_task(world.connections.refresh(world.actor, connection.id))
    await asyncio.to_thread(world.org.control.hold_state, rule, wait_arrived=1)

    outcome = await world.land(started, query)
    new = await tokens_of(world, connection)
    world.org.control.release(rule)
    await refreshing

    assert outcome.ok
    assert await tokens_of(world, connection) == new


async def test_disconnect_waits_for_a_refresh_and_revokes_what_it_brought(world: World):
    """Else the rotated token would live on at the provider, known to nobody."""
    connection = await world.connect()
    rule = world.org.control.hold("POST", TOKEN)
    refreshing = asyncio.create_task(world.connections.refresh(world.actor, connection.id))
    await asyncio.to_thread(world.org.control.hold_state, rule, wait_arrived=1)

    ending = asyncio.create_task(world.connections.disconnect(world.actor, connection.id))
    world.org.control.release(rule)
    report = await ending
    await asyncio.gather(refreshing, return_exceptions=True)

    assert report.revoked
    assert world.org.control.tokens()["grants_live"] == 0


class HandClock:
    """A clock that a test sets."""

    def __init__(self, store_clock) -> None:
        self._clock = store_clock
        self.ahead = timedelta(0)

    def now(self):
        return self._clock.now() + self.ahead


async def abandoned(world: World, connection: Connection, *, owner: str = "a dead server") -> None:
    """Leave lease and intent as a server does that was killed while its request was under way."""

    def leave(tx: Tx) -> None:
        row = refreshes.locked(tx, connection.id)
        refreshes.take(tx, row, owner, refresh.LEASE)
        refreshes.intend(tx, connection.id, connection.generation)

    await world.store.write(leave)


async def test_a_stale_intent_is_waited_for_and_then_the_old_token_is_sent_once(world: World):
    """
    A server died with a request under way. Its answer may still come and, under another clock, be saved: so
    nobody sends the same token before 30 s have passed; then exactly one request leaves.
    """
    assert isinstance(world.store, SqliteStore)
    clock = world.store._clock = HandClock(world.store._clock)
    connection = await world.connect()
    await abandoned(world, connection)

    waiting = asyncio.create_task(world.connections.refresh(world.actor, connection.id))
    await asyncio.sleep(0.3)  # nothing to await: the point is that nothing happens
    assert world.token_requests() == [], "the lease holds"
    clock.ahead = refresh.LEASE
    async with asyncio.timeout(20):
        assert (await waiting).state is ConnectionState.OK

    assert len(world.token_requests()) == 1


async def test_a_lost_answer_is_not_asked_for_again_at_once(world: World):
    """
    Where the request left and no answer came, the provider may have rotated. The intent stays, and the next
    request has to wait for it even though the lease was given back.
    """
    assert isinstance(world.store, SqliteStore)
    clock = world.store._clock = HandClock(world.store._clock)
    connection = await world.connect()
    impatient = Refresher(
        parts(
            store=world.store,
            vault=world.vault,
            registry=world.registry,
            settings=world.settings,
            http=world.http.patient(0.5),
        )
    )
    rule = world.org.control.hold("POST", TOKEN)

    with pytest.raises(errors.Transient, match="did not answer"):
        await impatient.token(connection.id, force=True)
    row = await row_of(world, connection)
    assert row.lease_owner is None
    assert row.intent_at is not None
    again = asyncio.create_task(world.connections.refresh(world.actor, connection.id))
    await asyncio.sleep(0.3)
    assert len(world.token_requests()) == 1

    world.org.control.release(rule)
    clock.ahead = refresh.DOUBT
    # The org had rotated: the old token is refused, which is the truth, and was asked for once only.
    with pytest.raises(errors.NeedsReauth):
        async with asyncio.timeout(20):
            await again
    assert len(world.token_requests()) == 2


async def test_an_answer_that_comes_after_the_lease_is_not_saved(world: World):
    """A server that slept through its lease must not overwrite what the next holder saved."""
    assert isinstance(world.store, SqliteStore)
    clock = world.store._clock = HandClock(world.store._clock)
    world.org.control.edit_app(world.org.details.client_id, rotate_refresh_tokens=False)
    connection = await world.connect()
    sleeper, other = world.another_server(), world.another_server()
    rule = world.org.control.hold("POST", TOKEN)
    late = asyncio.create_task(sleeper.refresh(world.actor, connection.id))
    await asyncio.to_thread(world.org.control.hold_state, rule, wait_arrived=1)

    clock.ahead = refresh.LEASE
    async with asyncio.timeout(20):
        await other.refresh(world.actor, connection.id)
    saved = await tokens_of(world, connection)
    world.org.control.release(rule)
    await late

    assert (await tokens_of(world, connection)).access_token == saved.access_token
    assert (await world.state(connection)).generation == connection.generation + 1
    for server in (sleeper, other):
        await server.close()


async def test_a_moved_instance_is_followed(world: World):
    """The API's address is taken from the newest token answer."""
    connection = await world.connect()
    body = {
        "access_token": "00Dxx!new",
        "refresh_token": "5Aep861new",
        "instance_url": "https://moved.my.salesforce.com/",
        "scope": "api refresh_token",
    }
    world.org.control.fail("POST", TOKEN, 200, body)

    found = await world.connections.refresh(world.actor, connection.id)

    assert found.account is not None
    assert found.account.instance_url == "https://moved.my.salesforce.com"


async def test_an_instance_outside_salesforce_is_never_given_a_token(world: World):
    """An answer that names a foreign host keeps the old address; the rotated token is kept all the same."""
    connection = await world.connect()
    body = {
        "access_token": "00Dxx!new",
        "refresh_token": "5Aep861new",
        "instance_url": "https://my.salesforce.com.evil.example",
    }
    world.org.control.fail("POST", TOKEN, 200, body)

    token = await world.connections.refresh(world.actor, connection.id)

    assert token.account is not None
    assert token.account.instance_url == world.org.details.instance_url
    assert (await tokens_of(world, connection)).refresh_token == "5Aep861new"
    assert (await use(world, connection)).instance_url == world.org.details.instance_url


async def test_a_session_of_another_org_gets_no_token(world: World):
    """A connection of another org does not exist."""
    connection = await world.connect()
    stranger = Actor(
        kind=world.actor.kind, id="usr_stranger", org_id="org_other", role=world.actor.role, user_name="eve"
    )

    with pytest.raises(errors.NotFound):
        await world.connections.access_token(connection.id, stranger)
