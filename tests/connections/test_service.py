"""The use cases of connections, each with what it must refuse."""

from datetime import timedelta

import factories
import pytest
from connections_world import World

from ninelives_server import errors
from ninelives_server.connections.service import Connections
from ninelives_server.model.actors import Role
from ninelives_server.model.connections import ConnectionState
from ninelives_server.settings import Settings
from ninelives_server.store import audit
from ninelives_server.store.core import SqliteStore


async def test_client_id_and_secret_are_all_that_is_needed(world: World):
    """Everything else is preset, and nothing of it comes from the server's settings."""
    made = await world.connections.create(
        world.actor,
        "lead_router",
        "crm",
        "salesforce",
        settings={"client_id": "3MVG9abc"},
        secrets={"client_secret": "shh"},
    )

    assert made.auth_mode == "oauth_private"
    assert made.settings == {
        "client_id": "3MVG9abc",
        "environment": "production",
        "scopes": "api refresh_token",
        "pubsub_endpoint": "",
    }
    assert made.secrets_set == {"client_secret"}
    assert made.state is ConnectionState.INIT_REQUIRED
    assert "shh" not in repr(made)


async def test_no_default_app_is_offered_for_salesforce(world: World):
    """There is one mode, the owner's own app, and no way to ask for another."""
    assert [mode.name for mode in world.registry.get("salesforce").auth_modes] == ["oauth_private"]

    with pytest.raises(errors.Invalid, match="oauth_default"):
        await world.connections.create(
            world.actor, world.project.id, "crm", "salesforce", "oauth_default", {"client_id": "x"}
        )


async def test_two_connections_never_use_each_others_app(world: World):
    """A wrong secret fails even though a right one is stored beside it."""
    good = await world.connect(await world.create("good"))
    bad = await world.create("bad", secret="wrong")
    started = await world.started(bad)

    outcome = await world.land(started, await world.visit(started))

    assert not outcome.ok
    assert (await world.state(good)).state is ConnectionState.OK
    sent = {body["client_secret"] for body in world.token_requests("authorization_code")}
    assert len(sent) == 2


@pytest.mark.parametrize(
    ("settings", "secrets", "field"),
    [
        ({}, {"client_secret": "s"}, "client_id"),
        ({"client_id": "x"}, {}, "client_secret"),
        ({"client_id": "x"}, {"client_secret": "  "}, "client_secret"),
        ({"client_id": "x", "client_secret": "s"}, {}, "client_secret"),
        ({"client_id": "x"}, {"client_secret": "s", "environment": "sandbox"}, "environment"),
        ({"client_id": "x", "clientid": "y"}, {"client_secret": "s"}, "clientid"),
        ({"client_id": "x", "environment": "https://evil.example"}, {"client_secret": "s"}, "environment"),
        (
            {"client_id": "x", "environment": "https://evilsalesforce.com"},
            {"client_secret": "s"},
            "environment",
        ),
        ({"client_id": "x", "scopes": "api"}, {"client_secret": "s"}, "scopes"),
        (
            {"client_id": "x", "pubsub_endpoint": "evil.example:7443"},
            {"client_secret": "s"},
            "pubsub_endpoint",
        ),
        ({"client_id": "x" * 5000}, {"client_secret": "s"}, "client_id"),
    ],
)
async def test_what_cannot_work_is_refused_with_its_field(world: World, settings, secrets, field: str):
    """The form marks the field; no message ever repeats a secret."""
    with pytest.raises(errors.Invalid) as caught:
        await world.connections.create(
            world.actor, world.project.id, "crm", "salesforce", settings=settings, secrets=secrets
        )

    assert field in caught.value.fields


@pytest.mark.parametrize("name", ["", "my crm", "crm-1", "x" * 101, "crm/../x"])
async def test_names_are_parts_of_variable_names(world: World, name: str):
    """`NAME__instance_url` must be a variable."""
    with pytest.raises(errors.Invalid):
        await world.create(name)


async def test_a_taken_name_is_refused(any_world: World):
    """One project has one connection of a name; another project may have its own."""
    world = any_world
    await world.create("crm")
    other = await factories.a_project(world.store, world.vault, world.actor, name="other")

    with pytest.raises(errors.Conflict, match="'crm'"):
        await world.create("crm")
    assert (await world.create("crm", project=other.id)).project_id == other.id


async def test_a_blank_secret_is_kept_and_the_mode_stays(world: World):
    """Editing must not silently make another connection of it (rule 7)."""
    connection = await world.connect()

    edited = await world.connections.edit(
        world.actor,
        connection.id,
        settings={"client_id": world.org.details.client_id, "scopes": "api refresh_token id"},
        secrets={"client_secret": ""},
        name="salesforce_eu",
    )

    assert edited.auth_mode == "oauth_private"
    assert edited.name == "salesforce_eu"
    assert edited.settings["scopes"] == "api refresh_token id"
    assert edited.settings["environment"] == connection.settings["environment"], "left out is kept"
    assert edited.state is ConnectionState.OK
    assert (await world.connections.refresh(world.actor, connection.id)).state is ConnectionState.OK


async def test_a_new_client_id_asks_for_a_new_authorisation(world: World):
    """The grant belongs to the old app: it is said at once, not found out at the next refresh."""
    connection = await world.connect()

    edited = await world.connections.edit(world.actor, connection.id, settings={"client_id": "3MVG9other"})

    assert edited.state is ConnectionState.NEEDS_REAUTH
    assert "authorise it again" in edited.reason


async def test_a_connection_of_a_manifest_is_initialised_by_editing(world: World):
    """It has nothing but a name; both required fields are asked for together."""
    bare = await factories.a_connection(world.store, world.project, name="crm")

    with pytest.raises(errors.Invalid, match="Client Secret"):
        await world.connections.edit(world.actor, bare.id, settings={"client_id": "x"})
    await world.connections.edit(
        world.actor,
        bare.id,
        settings={"client_id": world.org.details.client_id, "environment": world.org.details.login_url},
        secrets={"client_secret": world.org.details.client_secret},
    )

    assert (await world.connect(bare)).state is ConnectionState.OK


async def test_things_are_named_by_id_or_project_and_name(world: World):
    """The CLI's way of naming."""
    connection = await world.create("crm")

    assert (await world.connections.get(world.actor, "lead_router/crm")).id == connection.id
    assert (await world.connections.get(world.actor, f"{world.project.id}/crm")).id == connection.id
    for ref in ("crm", "lead_router/none", "none/crm", "con_00000000000000000000000000", ""):
        with pytest.raises(errors.NotFound):
            await world.connections.get(world.actor, ref)


async def test_another_org_sees_nothing(any_world: World):
    """Every method answers as if the connection did not exist (rule 10)."""
    world = any_world
    connection = await world.connect()
    link = await world.connections.begin(world.actor, connection.id)
    eve = await factories.a_person(world.store, org="elsewhere", name="eve")
    calls = world.connections

    for ref in (connection.id, "lead_router/crm", f"{world.project.id}/crm"):
        for attempt in (
            calls.get(eve, ref),
            calls.edit(eve, ref, settings={"client_id": "x"}),
            calls.disconnect(eve, ref),
            calls.delete(eve, ref),
            calls.begin(eve, ref),
            calls.test(eve, ref),
            calls.doctor(eve, ref),
            calls.refresh(eve, ref),
        ):
            with pytest.raises(errors.NotFound):
                await attempt
    for attempt in (
        calls.access_token(connection.id, eve),
        calls.project_token(world.project.id, "crm", eve),
        calls.flow_status(eve, link.flow_id),
        calls.list(eve, "lead_router"),
        calls.create(eve, "lead_router", "x", "salesforce", None, {"client_id": "x"}, {"client_secret": "y"}),
    ):
        with pytest.raises(errors.NotFound):
            await attempt
    assert await calls.list(eve) == []
    assert (await world.state(connection)).state is ConnectionState.OK


async def test_a_viewer_looks_and_changes_nothing(world: World):
    """Roles hold for every change and every use."""
    connection = await world.create()
    vera = await factories.a_person(world.store, name="vera", org_id=world.actor.org_id, role=Role.VIEWER)
    calls = world.connections

    assert (await calls.get(vera, connection.id)).id == connection.id
    for attempt in (
        calls.edit(vera, connection.id, name="x"),
        calls.disconnect(vera, connection.id),
        calls.delete(vera, connection.id),
        calls.refresh(vera, connection.id),
        calls.test(vera, connection.id),
    ):
        with pytest.raises(errors.Forbidden):
            await attempt


async def test_disconnect_revokes_and_keeps_what_was_entered(world: World):
    """The grant is gone on both sides; the app's fields stay for the next time."""
    connection = await world.connect()

    report = await world.connections.disconnect(world.actor, connection.id)

    assert report.revoked, report
    assert world.org.control.tokens()["grants_live"] == 0
    found = await world.state(connection)
    assert found.state is ConnectionState.DISCONNECTED
    assert found.account is None
    assert found.account_key is None
    assert await world.secret_names(connection) == {"client_secret"}
    with pytest.raises(errors.NeedsReauth):
        await world.connections.access_token(connection.id, world.actor)
    assert (await world.connect(found)).state is ConnectionState.OK


async def test_delete_revokes_unless_told_otherwise(world: World):
    """Both ways are reported and written down."""
    first, second = await world.connect(await world.create("a")), await world.connect(await world.create("b"))

    revoked = await world.connections.delete(world.actor, first.id)
    kept = await world.connections.delete(world.actor, second.id, keep_grant=True)

    assert revoked.revoked
    assert not kept.revoked
    assert world.org.control.tokens()["grants_live"] == 1
    assert await world.connections.list(world.actor) == []
    assert (await world.actions()).count("connection.deleted") == 2


async def test_a_provider_that_does_not_revoke_is_reported(world: World):
    """Deleting works all the same, and says that the grant has to be ended there."""
    connection = await world.connect()
    world.org.control.fail("POST", "/services/oauth2/revoke", 500, "<html>oops</html>")

    report = await world.connections.delete(world.actor, connection.id)

    assert not report.revoked
    assert "by hand" in report.message
    with pytest.raises(errors.NotFound):
        await world.state(connection)


async def test_the_callback_is_one_per_integration(world: World):
    """Exactly `{public_url}/oauth/redirect/{integration}` (rule 2)."""
    behind = Connections(
        store=world.store,
        vault=world.vault,
        registry=world.registry,
        settings=Settings(data_dir=world.settings.data_dir, public_url="acme.ngrok.dev/prefix/"),
        http=world.http,
    )

    assert world.connections.callback_url("salesforce") == "http://localhost:9980/oauth/redirect/salesforce"
    assert behind.callback_url("salesforce") == "https://acme.ngrok.dev/prefix/oauth/redirect/salesforce"


@pytest.mark.parametrize(
    ("address", "warns"),
    [
        (None, False),
        ("http://localhost:9980", False),
        ("https://acme.example", False),
        ("http://127.0.0.1:9980", True),
        ("http://192.168.1.7:9980", True),
        ("http://acme.example", True),
        ("http://localhost.evil.example", True),
    ],
)
async def test_only_addresses_that_are_refused_as_callbacks_warn(
    world: World, address: str | None, warns: bool
):
    """Nothing to say about https and http://localhost; about any other address: both ways out."""
    service = Connections(
        store=world.store,
        vault=world.vault,
        registry=world.registry,
        settings=Settings(data_dir=world.settings.data_dir, public_url=address),
        http=world.http,
    )

    warning = service.callback_warning()

    assert (warning is not None) == warns
    if warning:
        assert "NINELIVES_PUBLIC_URL" in warning
        assert "http://localhost" in warning


async def test_every_change_and_use_is_in_the_audit_log(world: World):
    """Rows are written in the unit that makes the change; none holds a secret."""
    connection = await world.connect()
    await world.connections.access_token(connection.id, world.actor)
    await world.connections.refresh(world.actor, connection.id)
    await world.connections.edit(world.actor, connection.id, name="renamed")
    await world.connections.test(world.actor, connection.id)
    await world.connections.disconnect(world.actor, connection.id)
    await world.connections.delete(world.actor, connection.id)

    actions = [action for action in await world.actions() if action.startswith("connection.")]

    assert actions == [
        "connection.created",
        "connection.authorisation_begun",
        "connection.authorised",
        "connection.token_used",
        "connection.token_refreshed",
        "connection.edited",
        "connection.tested",
        "connection.disconnected",
        "connection.deleted",
    ]
    entries = await world.store.read(lambda tx: audit.of_org(tx, world.actor.org_id, limit=100))
    assert all(e.project_id == world.project.id for e in entries if e.action.startswith("connection."))


async def test_flow_status_tells_the_cli_how_it_went(world: World):
    """`connection init` waits on it: from the ticket to an outcome."""
    connection = await world.create()
    link = await world.connections.begin(world.actor, connection.id)
    before = await world.connections.flow_status(world.actor, link.flow_id)
    started = await world.flows.start(connection.id, link.ticket, link.code, None)
    during = await world.connections.flow_status(world.actor, link.flow_id)
    await world.land(started, await world.visit(started))

    after = await world.connections.flow_status(world.actor, link.flow_id)

    assert (before.status, before.outcome) == ("ticketed", None)
    assert (during.status, during.outcome) == ("started", None)
    assert after.status == "done"
    assert after.outcome is not None
    assert after.outcome["ok"] is True


async def test_a_flow_that_nobody_finished_expires(world: World):
    """Whoever waits gets an answer."""
    assert isinstance(world.store, SqliteStore)
    link = await world.connections.begin(world.actor, (await world.create()).id)
    clock = world.store._clock

    class Later:
        def now(self):
            return clock.now() + timedelta(minutes=11)

    world.store._clock = Later()
    found = await world.connections.flow_status(world.actor, link.flow_id)

    assert found.status == "expired"
    assert found.outcome is not None
