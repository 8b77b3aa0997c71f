"""Connections that are connected by what is entered: keys, tokens, passwords."""

import pytest
from connections_world import World

from ninelives_server import errors
from ninelives_server.model.connections import Connection, ConnectionState
from ninelives_server.store import connections as rows


async def environment(world: World) -> tuple[dict[str, str], set[str]]:
    """Return what sessions of the project find, and what is masked."""
    found, masked = await world.store.write(
        lambda tx: world.connections.session_environment(tx, world.project.id)
    )
    return dict(found), set(masked)


async def from_a_manifest(world: World, made: Connection, **settings: str) -> None:
    """Make a connection as a manifest leaves it: nothing entered, and variables of its own."""

    def change(tx: object) -> None:
        rows.set_entered(tx, made, name=made.name, settings=settings, auth_mode=made.auth_mode)
        rows.set_state(tx, made.id, ConnectionState.INIT_REQUIRED, reason="")

    await world.store.write(change)


async def test_a_key_is_all_that_is_needed(world: World):
    """It is ready at once, sessions find the key under the helper's name, and no answer shows it."""
    made = await world.connections.create(
        world.actor, world.project.id, "chat", "slack", secrets={"private_bot_token": "xoxb-1234567"}
    )

    found, masked = await environment(world)

    assert made.state is ConnectionState.OK
    assert "xoxb" not in repr(made)
    assert found == {
        "chat__connection_id": made.id,
        "chat__private_bot_token": "xoxb-1234567",
        "chat__auth_type": "socketMode",
    }
    assert masked == {"xoxb-1234567"}
    assert "connection.token_used" in await world.actions()


async def test_a_missing_field_is_named(world: World):
    """Nothing is saved where something required is missing."""
    with pytest.raises(errors.Invalid, match="API token is required"):
        await world.connections.create(
            world.actor,
            world.project.id,
            "tracker",
            "jira",
            settings={"BaseURL": "https://acme.atlassian.net", "Email": "ada@acme.example"},
        )


async def test_a_choice_takes_what_it_offers(world: World):
    """A word that means the same to people would be kept, and do nothing."""
    with pytest.raises(errors.Invalid, match="Give to sessions is no or yes, not 'true'"):
        await world.connections.create(
            world.actor,
            world.project.id,
            "forum",
            "reddit",
            settings={"client_id": "id", "user_agent": "me", "give_to_sessions": "true"},
            secrets={"client_secret": "s-123456"},
        )


async def test_a_connection_of_a_manifest_is_set_up_by_an_edit_in_any_mode(world: World):
    """It waits for its fields; the mode is chosen now and then kept; the manifest's own variables stay."""
    made = await world.connections.create(
        world.actor,
        world.project.id,
        "tracker",
        "jira",
        "pat",
        settings={"BaseURL": "https://x"},
        secrets={"Token": "pat-0000"},
    )
    other = await world.connections.create(
        world.actor, world.project.id, "gh", "github", secrets={"pat": "ghp_0000"}
    )
    await world.store.write(lambda tx: rows.drop_secrets(tx, other.id, ["pat"]))
    await from_a_manifest(world, other, target_name="acme")

    before, _ = await environment(world)
    done = await world.connections.edit(
        world.actor,
        other.id,
        auth_mode="app",
        settings={"app_id": "1", "install_id": "2"},
        secrets={"private_key": "-----BEGIN"},
    )
    found, masked = await environment(world)

    assert before["gh__target_name"] == "acme"
    assert "gh__pat" not in before
    assert (done.state, done.auth_mode) == (ConnectionState.OK, "app")
    assert found["gh__private_key"] == "-----BEGIN"
    assert found["gh__target_name"] == "acme"
    assert masked == {"-----BEGIN", "pat-0000"}
    with pytest.raises(errors.Invalid, match="keeps that"):
        await world.connections.edit(world.actor, made.id, auth_mode="api_token")


async def test_a_helper_that_refreshes_gets_the_key_again(world: World):
    """HubSpot's helper asks for a token at each creation; the private app's token is the only one there is."""
    await world.connections.create(
        world.actor, world.project.id, "hub", "hubspot", secrets={"private_app_token": "pat-na1-1"}
    )

    first = await world.connections.project_token(world.project.id, "hub", world.actor)
    again = await world.connections.project_token(world.project.id, "hub", world.actor, refused="pat-na1-1")

    assert first.token == again.token == "pat-na1-1"
    assert first.expires_at is None


async def test_a_mode_without_a_token_says_so(world: World):
    """There is nothing that could be handed out."""
    await world.connections.create(
        world.actor,
        world.project.id,
        "cloud",
        "aws",
        settings={"AccessKeyID": "AKIA"},
        secrets={"SecretKey": "shhh"},
    )

    with pytest.raises(errors.NeedsReauth, match="Access key gives no access token"):
        await world.connections.project_token(world.project.id, "cloud", world.actor)


async def test_nothing_of_a_key_is_authorised_tested_or_refreshed(world: World):
    """Each way in says what there is to do instead."""
    made = await world.connections.create(
        world.actor, world.project.id, "tg", "telegram", secrets={"BotToken": "1:abcd"}
    )

    tested = await world.connections.test(world.actor, made.id)
    checks = await world.connections.doctor(world.actor, made.id)

    assert tested.ok
    assert "nothing was asked of Telegram" in tested.message
    assert [check.status for check in checks] == ["ok"]
    with pytest.raises(errors.Conflict, match="--set"):
        await world.connections.begin(world.actor, made.id)
    with pytest.raises(errors.Conflict, match="nothing to refresh"):
        await world.connections.refresh(world.actor, made.id)


async def test_a_disconnected_key_is_no_longer_given_to_sessions(world: World):
    """What was entered stays, and an edit connects it again."""
    made = await world.connections.create(
        world.actor, world.project.id, "tg", "telegram", secrets={"BotToken": "1:abcd"}
    )
    await world.connections.disconnect(world.actor, made.id)

    gone, _ = await environment(world)
    await world.connections.edit(world.actor, made.id, secrets={"BotToken": "2:efgh"})
    back, _ = await environment(world)

    assert gone == {"tg__connection_id": made.id}
    assert back["tg__BotToken"] == "2:efgh"
