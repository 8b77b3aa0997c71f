"""What sessions are given of their project's connections, and how fresh it is."""

from datetime import timedelta

import pytest
from connections_world import World

from ninelives_server import errors
from ninelives_server.store import connections as rows
from ninelives_server.store.core import SqliteStore


async def test_sessions_find_token_address_and_id(world: World):
    """What `salesforce_client` reads; never a refresh token or a client secret."""
    connection = await world.connect()
    bare = await world.create("bare")

    env, masked = await world.store.write(
        lambda tx: world.connections.session_environment(tx, world.project.id)
    )

    token = (await world.connections.access_token(connection.id, world.actor)).token
    assert env["crm__oauth_access_token"] == token
    assert env["crm__instance_url"] == world.org.details.instance_url
    assert env["crm__connection_id"] == connection.id
    assert env["crm__oauth_refresh_token"] == "managed-by-ninelives"
    assert {name for name in env if name.startswith("bare__")} == {"bare__connection_id"}
    assert env["bare__connection_id"] == bare.id
    assert masked == {token}
    assert world.org.details.client_secret not in env.values()
    assert (await world.state(connection)).last_used_at is not None


async def test_a_disconnected_account_leaves_nothing_in_the_environment(world: World):
    """A token that was revoked must not reach a session."""
    connection = await world.connect()
    await world.connections.disconnect(world.actor, connection.id)

    env, masked = await world.store.write(
        lambda tx: world.connections.session_environment(tx, world.project.id)
    )

    assert set(env) == {"crm__connection_id"}
    assert masked == set()


async def test_tokens_are_fresh_when_a_session_starts(world: World):
    """Code that never refreshes must not begin with a token that has timed out."""
    assert isinstance(world.store, SqliteStore)
    connection = await world.connect()
    await world.connections.prepare(world.project.id)
    assert world.token_requests() == [], "a token that is minutes old is good"
    clock = world.store._clock

    class Later:
        def now(self):
            return clock.now() + timedelta(hours=3)

    world.store._clock = Later()
    world.org.control.advance_clock(3 * 3600)
    await world.connections.prepare(world.project.id)

    assert len(world.token_requests()) == 1
    assert (await world.connections.test(world.actor, connection.id)).ok


async def test_preparing_never_fails_a_session(world: World):
    """A connection that is in trouble is the code's business only where it is used."""
    assert isinstance(world.store, SqliteStore)
    await world.connect()
    world.org.control.revoke_grants()
    clock = world.store._clock

    class Later:
        def now(self):
            return clock.now() + timedelta(hours=3)

    world.store._clock = Later()
    await world.connections.prepare(world.project.id)


async def test_preparing_does_not_wait_for_a_provider_that_hiccups(world: World):
    """The first session asks; those that start while it backs off use what there is."""
    assert isinstance(world.store, SqliteStore)
    await world.connect()
    clock = world.store._clock

    class Later:
        def now(self):
            return clock.now() + timedelta(hours=1)

    world.store._clock = Later()
    world.org.control.fail("POST", "/services/oauth2/token", 503, "busy", times=9)
    for _ in range(4):
        await world.connections.prepare(world.project.id)

    assert len(world.token_requests()) == 1


async def test_a_secret_of_one_connection_does_not_open_in_another(world: World):
    """Each value is bound to its row (rule 9)."""
    first, second = await world.create("first"), await world.create("second")

    def swap(tx):
        rows.put_secret(tx, second.id, "client_secret", rows.secrets_of(tx, first.id)["client_secret"])

    await world.store.write(swap)

    with pytest.raises(errors.SetupError, match="belongs to another row"):
        await world.started(second)
