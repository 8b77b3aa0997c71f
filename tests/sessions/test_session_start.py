"""`sessions.start`: what a session's processes are given."""

import pytest
from factories import a_connection, a_trigger
from world import World

from ninelives_server.sessions.journal import Claimed
from ninelives_server.store import sessions, tables

pytestmark = pytest.mark.store


async def start_of(world: World, session_id: str) -> dict:
    claimed = await world.journal.claim("wrk_1", session_id)
    assert isinstance(claimed, Claimed)
    return dict(claimed.start)


async def test_the_environment_has_variables_addresses_and_tokens(world: World):
    """
    As AutoKitteh's sessions find them; what the project sets itself wins over addresses.
    """
    trigger = await a_trigger(world.store, world.project, name="hook")
    await a_connection(world.store, world.project)
    session = await world.session()

    start = await start_of(world, session.id)

    assert start["env"] == {
        "CHANNEL": "#sales",
        "hook__webhook_url": f"http://localhost:9980/webhooks/{trigger.slug}",
        "store_public_url": f"http://localhost:9980/store/{world.project.id}",
        "crm__oauth_access_token": "00Dxx!access",
    }
    assert start["connections"] == ["crm"]
    assert (start["tz"], start["hashseed"], start["semantics"]) == ("UTC", "0", 1)


async def test_secret_variables_are_named_to_be_masked(world: World):
    """
    The process masks their values; one of a few characters would black out half of what people read.
    """
    world.variables.values.update({"API_KEY": "very-secret", "PIN": "123"})
    rows = [
        {
            "project_id": world.project.id,
            "name": name,
            "sealed_value": b"",
            "is_secret": is_secret,
            "description": "",
            "updated_at": world.project.created_at,
            "created_at": world.project.created_at,
            "created_by": "system",
        }
        for name, is_secret in (("API_KEY", True), ("PIN", True), ("CHANNEL", False))
    ]
    await world.store.write(lambda tx: tx.connection.execute(tables.variables.insert(), rows) and None)
    session = await world.session()

    start = await start_of(world, session.id)

    assert start["secret_names"] == {"very-secret": "API_KEY", "00Dxx!access": "crm__oauth_access_token"}
    assert start["secrets"] == ["00Dxx!access", "very-secret"]


async def test_every_process_of_a_session_has_the_same_seed(world: World):
    """
    Random numbers are computed from it: replay makes the same ones, another session others.
    """
    session, other = await world.session(), await world.session()

    first = await start_of(world, session.id)
    await world.journal.release(session.id, 1)
    second = await start_of(world, session.id)

    assert first["seed"] == second["seed"]
    assert len(first["seed"]) == 64
    assert (await start_of(world, other.id))["seed"] != first["seed"]


async def test_the_start_document_is_sealed(world: World):
    """
    Inputs and variables may hold anything.
    """
    session = await world.session(data={"ssn": "078-05-1120"})

    pinned = await world.store.read(lambda tx: sessions.pinned(tx, session.id))

    assert b"078-05-1120" not in pinned.sealed_start
    assert b"sales" not in pinned.sealed_start
