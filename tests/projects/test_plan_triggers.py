"""
Triggers in a plan: as the manifest says, and a webhook keeps its address.
"""

from dataclasses import replace

import sqlalchemy as sa
from making import MANIFEST, a_bundle

from ninelives_server import ids
from ninelives_server.model.actors import Actor
from ninelives_server.projects.service import Projects
from ninelives_server.store import connections, tables
from ninelives_server.store.core import Store


async def test_a_webhook_keeps_its_address(projects: Projects, ada: Actor):
    """
    Other systems have it written down.
    """
    await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    before = await projects.trigger(ada, "lead_router/hook")

    result = await projects.deploy(
        ada, bundle=a_bundle(MANIFEST.replace("call: main.py:on_open", "call: main.py:on_lead"))
    )

    after = await projects.trigger(ada, "lead_router/hook")
    assert (after.id, after.slug, after.call) == (before.id, before.slug, "main.py:on_lead")
    assert "change trigger hook (call)" in result.actions


async def test_a_trigger_of_another_type_is_made_anew(projects: Projects, ada: Actor):
    """
    AutoKitteh refuses that; there is nothing of the old one to keep.
    """
    await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    before = await projects.trigger(ada, "lead_router/hook")

    await projects.deploy(
        ada, bundle=a_bundle(MANIFEST.replace("hook, type: webhook", "hook, schedule: '@daily'"))
    )

    after = await projects.trigger(ada, "lead_router/hook")
    assert (after.slug, after.schedule) == (None, "@daily")
    assert after.id != before.id


async def test_a_trigger_may_name_a_connection_of_the_org(projects: Projects, ada: Actor, database: Store):
    """
    One that all projects share; the project's own comes first.
    """
    await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    own = await database.read(
        lambda tx: connections.by_name(
            tx, tx.connection.execute(sa.select(tables.projects.c.id)).scalar_one(), "crm"
        )
    )
    shared = replace(own, id=ids.ConnectionId(ids.new("con")), project_id=None, name="shared")
    await database.write(lambda tx: connections.insert(tx, shared))
    text = "project:\n  name: p\n  triggers: [{name: t, connection: shared}]\n"

    await projects.deploy(ada, bundle=a_bundle(text))

    assert (await projects.trigger(ada, "p/t")).connection_id == shared.id


async def test_a_schedule_of_six_fields_is_deployed_with_a_warning(projects: Projects, ada: Actor):
    """
    Elsewhere six fields begin with seconds: the next times show what is meant here.
    """
    text = MANIFEST.replace("hook, type: webhook", "hook, schedule: '0 3 1 1 * 2030'")

    result = await projects.deploy(ada, bundle=a_bundle(text))

    [warning] = [line for line in result.warnings if "6 fields" in line]
    assert warning.startswith("ninelives.yaml:")
    assert "it runs next 2030-01-01 03:00 UTC; " in warning


async def test_what_only_some_triggers_have_is_applied_and_taken_back(projects: Projects, ada: Actor):
    """
    The triggers are as the manifest says, with limits and without.
    """
    limited = "hook, type: webhook, max_concurrent: 3, key: data.method"
    await projects.deploy(ada, bundle=a_bundle(MANIFEST.replace("hook, type: webhook", limited)))
    with_limits = await projects.trigger(ada, "lead_router/hook")

    result = await projects.deploy(ada, bundle=a_bundle(MANIFEST))

    assert (with_limits.max_concurrent, with_limits.key) == (3, "data.method")
    after = await projects.trigger(ada, "lead_router/hook")
    assert (after.max_concurrent, after.key) == (None, "")
    assert "change trigger hook (options)" in result.actions
