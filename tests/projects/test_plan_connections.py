"""
Connections in a plan: adopted as they are; nothing that somebody has set up is touched or deleted.
"""

import pytest
from making import MAIN, MANIFEST, a_bundle

from ninelives_server.model.actors import Actor
from ninelives_server.model.connections import ConnectionState
from ninelives_server.projects.service import Projects
from ninelives_server.store import connections
from ninelives_server.store.core import Store


async def test_a_connection_and_its_trigger_can_go_together(projects: Projects, ada: Actor, database: Store):
    """
    AutoKitteh refuses that.
    """
    await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    lines = [line for line in MANIFEST.splitlines() if "crm" not in line]

    result = await projects.deploy(ada, bundle=a_bundle("\n".join(lines)))

    assert {t.name for t in await projects.triggers(ada, "lead_router")} == {"hook", "nightly"}
    assert await database.read(lambda tx: connections.by_name(tx, result.project_id, "crm")) is None
    assert "delete connection crm, which the manifest does not have any more" in result.actions


@pytest.mark.parametrize(
    "state", [ConnectionState.OK, ConnectionState.NEEDS_REAUTH, ConnectionState.DISCONNECTED]
)
async def test_a_connection_that_was_set_up_is_never_deleted_by_a_manifest(
    projects: Projects, ada: Actor, database: Store, state: ConnectionState
):
    """
    Its owner is told how to delete it.
    """
    first = await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    crm = await database.read(lambda tx: connections.by_name(tx, first.project_id, "crm"))
    await database.write(lambda tx: connections.set_state(tx, crm.id, state))
    lines = [line for line in MANIFEST.splitlines() if "crm" not in line]

    result = await projects.deploy(ada, bundle=a_bundle("\n".join(lines)))

    assert await database.read(lambda tx: connections.by_id(tx, crm.id)) is not None
    assert [w for w in result.warnings if "`ninelives connection delete lead_router/crm`" in w]


async def test_a_secret_that_was_entered_keeps_its_connection_too(
    projects: Projects, ada: Actor, database: Store
):
    """
    Saved and not yet authorised is set up already.
    """
    first = await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    crm = await database.read(lambda tx: connections.by_name(tx, first.project_id, "crm"))
    await database.write(lambda tx: connections.put_secret(tx, crm.id, "client_secret", b"sealed"))

    await projects.deploy(ada, bundle=a_bundle("\n".join(x for x in MANIFEST.splitlines() if "crm" not in x)))

    assert await database.read(lambda tx: connections.by_id(tx, crm.id)) is not None


async def test_an_authorised_connection_is_adopted_untouched(projects: Projects, ada: Actor, database: Store):
    """
    Deploying onto an existing name never touches credentials or state.
    """
    first = await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    crm = await database.read(lambda tx: connections.by_name(tx, first.project_id, "crm"))

    def set_up(tx):
        connections.set_entered(tx, crm, name="crm", settings={"client_id": "abc"}, auth_mode="oauth_private")
        connections.put_secret(tx, crm.id, "client_secret", b"sealed")
        connections.set_state(tx, crm.id, ConnectionState.OK)

    await database.write(set_up)
    before = await database.read(lambda tx: connections.by_id(tx, crm.id))
    text = MANIFEST.replace(
        "crm, integration: salesforce",
        "crm, integration: salesforce, vars: [{name: client_id, value: other}]",
    )

    result = await projects.deploy(ada, bundle=a_bundle(text, main=MAIN + "# changed"))

    assert await database.read(lambda tx: connections.by_id(tx, crm.id)) == before
    assert await database.read(lambda tx: connections.secrets_of(tx, crm.id)) == {"client_secret": b"sealed"}
    assert not [w for w in result.warnings if "connection crm" in w]


async def test_settings_of_a_new_connection_come_from_the_manifest_but_secrets_do_not(
    projects: Projects, ada: Actor, database: Store
):
    """
    Variables of connections are settings; what is secret is entered in the form.
    """
    text = (
        "project:\n  name: p\n  connections:\n    - name: crm\n      integration: salesforce\n"
        "      vars: [{name: client_id, value: abc}, {name: FormID, value: f1}, {name: empty, value: ''},\n"
        "             {name: client_secret, value: hush}, {name: x, value: hush, secret: true}]\n"
    )

    result = await projects.deploy(ada, bundle=a_bundle(text))
    crm = await database.read(lambda tx: connections.by_name(tx, result.project_id, "crm"))
    again = await projects.deploy(ada, bundle=a_bundle(text.replace("f1", "f2")))
    after = await database.read(lambda tx: connections.by_id(tx, crm.id))

    assert (crm.settings, crm.secrets_set) == ({"client_id": "abc", "FormID": "f1"}, frozenset())
    assert len([w for w in result.warnings if "not taken from a manifest" in w]) == 2
    assert "hush" not in " ".join([*result.warnings, *result.actions])
    assert after.settings == {"client_id": "abc", "FormID": "f2"}
    assert "change settings of connection crm" in again.actions


async def test_a_connection_by_a_key_says_how_to_set_it_up(projects: Projects, ada: Actor, database: Store):
    """
    An alias is understood, and stored under the integration's own name; nothing in it is authorised.
    """
    text = "project:\n  name: p\n  connections: [{name: ai, integration: chat}]\n"

    result = await projects.deploy(ada, bundle=a_bundle(text))
    ai = await database.read(lambda tx: connections.by_name(tx, result.project_id, "ai"))
    again = await projects.deploy(ada, bundle=a_bundle(text))

    assert (ai.integration, ai.auth_mode, ai.state) == ("telegram", "key", ConnectionState.INIT_REQUIRED)
    assert result.warnings == again.warnings
    assert "`ninelives connection edit p/ai --set domain=DOMAIN --set token=-`" in " ".join(result.warnings)


async def test_a_connection_whose_library_needs_a_client_secret_says_how_sessions_get_it(
    projects: Projects, ada: Actor
):
    """It is given to sessions only where the owner said so; without it the helper only says "not initialized"."""
    text = "project:\n  name: p\n  connections: [{name: f, integration: forum}]\n"

    result = await projects.deploy(ada, bundle=a_bundle(text))

    line = next(w for w in result.warnings if "has to be set up" in w)
    assert "`ninelives connection edit p/f --set client_secret=-`, with `--set give_to_sessions=yes`" in line
