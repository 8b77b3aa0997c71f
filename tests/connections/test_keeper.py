"""What the server does by itself: try again what failed, keep alive what nobody uses."""

from datetime import timedelta

import pytest
from connections_world import World

from ninelives_server import errors
from ninelives_server.connections.health import Health
from ninelives_server.connections.keeper import Keeper
from ninelives_server.connections.parts import parts
from ninelives_server.connections.refresh import Refresher
from ninelives_server.model.connections import ConnectionState
from ninelives_server.store.core import SqliteStore

TOKEN = "/services/oauth2/token"


class Clock:
    """The store's clock, moved by the test."""

    def __init__(self, world: World) -> None:
        assert isinstance(world.store, SqliteStore)
        self._clock = world.store._clock
        self.ahead = timedelta(0)
        world.store._clock = self

    def now(self):
        return self._clock.now() + self.ahead


def keeper(world: World) -> Keeper:
    """The keeper of this world's server."""
    shared = parts(
        store=world.store,
        vault=world.vault,
        registry=world.registry,
        settings=world.settings,
        http=world.http,
    )
    refresher = Refresher(shared)
    return Keeper(shared, refresher, Health(shared, refresher))


async def test_a_degraded_connection_recovers_by_itself(world: World):
    """Nobody has to press anything after an outage of the provider."""
    clock = Clock(world)
    connection = await world.connect()
    world.org.control.fail("POST", TOKEN, 503, "busy")
    with pytest.raises(errors.Transient):
        await world.connections.refresh(world.actor, connection.id)

    await keeper(world).sweep()
    assert (await world.state(connection)).state is ConnectionState.DEGRADED, "not before its time"
    clock.ahead = timedelta(minutes=6)
    await keeper(world).sweep()

    assert (await world.state(connection)).state is ConnectionState.OK


async def test_what_an_administrator_fixed_is_noticed_within_minutes(world: World):
    """`needs_admin` is tried slowly, with a probe: a refresh alone proves nothing about a policy."""
    clock = Clock(world)
    connection = await world.connect()
    disabled = [{"errorCode": "API_CURRENTLY_DISABLED", "message": "API is disabled for this User"}]
    world.org.control.fail("GET", "/services/data/*", 403, disabled, times=2)
    await world.connections.test(world.actor, connection.id)
    assert (await world.state(connection)).state is ConnectionState.NEEDS_ADMIN

    clock.ahead = timedelta(minutes=11)
    await keeper(world).sweep()
    assert (await world.state(connection)).state is ConnectionState.NEEDS_ADMIN
    clock.ahead = timedelta(minutes=22)
    await keeper(world).sweep()

    assert (await world.state(connection)).state is ConnectionState.OK


async def test_a_dead_grant_is_left_alone(world: World):
    """`needs_reauth` is for the user; asking again would never help."""
    clock = Clock(world)
    connection = await world.connect()
    world.org.control.revoke_grants()
    await world.connections.test(world.actor, connection.id)
    before = len(world.org.control.requests())

    clock.ahead = timedelta(days=3)
    await keeper(world).sweep()

    assert len(world.org.control.requests()) == before


async def test_an_idle_grant_is_refreshed_daily(world: World):
    """Policies end refresh tokens that nobody uses; a dead one should be noticed before it is needed."""
    clock = Clock(world)
    connection = await world.connect()
    await keeper(world).sweep()
    assert world.token_requests() == []

    clock.ahead = timedelta(hours=25)
    await keeper(world).sweep()

    assert len(world.token_requests()) == 1
    assert (await world.state(connection)).generation == connection.generation + 1


async def test_old_flows_are_deleted(world: World):
    """Their hashes are of no use to anybody after a day."""
    clock = Clock(world)
    connection = await world.create()
    link = await world.connections.begin(world.actor, connection.id)

    clock.ahead = timedelta(days=2)
    await keeper(world).sweep()

    with pytest.raises(errors.NotFound):
        await world.connections.flow_status(world.actor, link.flow_id)
