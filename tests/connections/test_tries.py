"""Trying a connection: its test and its doctor."""

from connections_world import World

from ninelives_server.model.connections import ConnectionState


async def test_a_test_that_works_says_so(world: World):
    """It shows the account and moves `last_checked_at`."""
    connection = await world.connect()

    found = await world.connections.test(world.actor, connection.id)

    assert found.ok
    assert world.org.details.username in found.message
    after = await world.state(connection)
    assert after.last_checked_at is not None
    assert after.state is ConnectionState.OK


async def test_a_test_refreshes_an_expired_token_once(world: World):
    """An access token that timed out is no trouble of the connection."""
    connection = await world.connect()
    world.org.control.expire_sessions()

    found = await world.connections.test(world.actor, connection.id)

    assert found.ok
    assert len(world.token_requests()) == 1


async def test_a_test_of_a_revoked_grant_names_reconnecting(world: World):
    """The state follows; reconnecting puts it right."""
    connection = await world.connect()
    world.org.control.revoke_grants()

    found = await world.connections.test(world.actor, connection.id)

    assert not found.ok
    state = await world.state(connection)
    assert state.state is ConnectionState.NEEDS_REAUTH
    assert "expired access/refresh token" in state.provider_reason
    assert (await world.connect(state)).state is ConnectionState.OK


async def test_a_test_recognises_a_locked_session(world: World):
    """IP policies answer 401 like an expiry; the setting is named instead of refreshing for ever."""
    connection = await world.connect()
    world.org.control.expire_sessions(message="This session is not valid for use with the REST API")

    found = await world.connections.test(world.actor, connection.id)

    assert not found.ok
    assert any("IP" in step for step in found.next_steps)
    assert (await world.state(connection)).state is ConnectionState.NEEDS_ADMIN
    assert world.token_requests() == []


async def test_the_doctor_names_its_checks(world: World):
    """A new org has nothing selected for Change Data Capture, which is the usual surprise."""
    connection = await world.connect()

    checks = {check.name: check for check in await world.connections.doctor(world.actor, connection.id)}

    assert [checks[n].status for n in ("callback", "token", "scopes", "identity", "api")] == ["ok"] * 5
    assert checks["change data capture"].status == "warning"
    assert checks["change data capture"].next_step
    world.org.control.select_entities(["Lead"])
    again = {check.name: check for check in await world.connections.doctor(world.actor, connection.id)}
    assert again["change data capture"].status == "ok"
    assert "Lead" in again["change data capture"].message


async def test_the_doctor_of_a_connection_that_nobody_authorised(world: World):
    """It says what is missing instead of failing."""
    checks = await world.connections.doctor(world.actor, (await world.create()).id)

    assert checks[-1].name == "token"
    assert checks[-1].status == "failed"
    assert "connection init" in checks[-1].message
