"""
Projects by hand: variables, deployments, deletion; and that nobody sees another org's.
"""

import pytest
import sqlalchemy as sa
from factories import a_build, a_connection, a_deployment, a_person, a_project, a_trigger
from making import MAIN, MANIFEST, Grants, a_bundle, a_session, counts, services

from ninelives_server import ids
from ninelives_server.errors import Conflict, Forbidden, Invalid, NotFound, SetupError
from ninelives_server.model.actors import Actor, Role
from ninelives_server.model.connections import Account, ConnectionState
from ninelives_server.model.projects import DeploymentState
from ninelives_server.projects.service import Projects
from ninelives_server.projects.trigger_limits import TriggerLimits
from ninelives_server.settings import RetentionSettings
from ninelives_server.store import audit, tables
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault

ACCOUNT = Account(org_id="00D", user="u", user_id="005", instance_url="https://x", scopes=("api",))


async def test_a_project_can_be_made_by_hand(projects: Projects, ada: Actor):
    """
    A name is enough; it is found by name and by id.
    """
    made = await projects.create(ada, "first")

    assert await projects.get(ada, "first") == made
    assert await projects.get(ada, made.id) == made
    assert [p.name for p in await projects.list(ada)] == ["first"]
    assert (made.retain_sessions, made.retain_events, made.retain_logs) == (30, 30, 30)


@pytest.mark.parametrize("name", ["", "a b", "ä", "-a", "x" * 101, "a/b", "prj_" + "0" * 26])
async def test_a_name_that_cannot_be_used_is_refused(projects: Projects, ada: Actor, name: str):
    """
    The rule is that of manifests, so that the project can be deployed onto later.
    """
    with pytest.raises(Invalid, match="letters, digits"):
        await projects.create(ada, name)


async def test_a_name_is_taken_once_in_an_org(projects: Projects, ada: Actor, database: Store):
    """
    And free in another one.
    """
    await projects.create(ada, "first")

    with pytest.raises(Conflict, match="'first'"):
        await projects.create(ada, "first")
    await projects.create(await a_person(database, org="other", name="bob"), "first")


async def test_a_name_that_is_nearly_one_is_told_which(projects: Projects, ada: Actor, database: Store):
    """
    One of the caller's own org; what others have is not told.
    """
    await projects.create(ada, "lead_router")
    await projects.create(await a_person(database, org="other", name="bob"), "lead_routes")

    with pytest.raises(NotFound, match="no project 'lead_routes'; did you mean 'lead_router'"):
        await projects.get(ada, "lead_routes")


async def test_new_projects_keep_things_as_long_as_the_settings_say(
    projects: Projects, ada: Actor, database: Store, vault: Vault
):
    """
    Whether made by hand or by a deploy; a manifest wins.
    """
    days = RetentionSettings(sessions=1, events=2, logs=3)
    service = services(database, vault, retention=days)
    await service.create(ada, "by_hand")
    await service.deploy(ada, bundle=a_bundle(MANIFEST))

    for name, kept in (("by_hand", (1, 2, 3)), ("lead_router", (7, 2, 3))):
        found = await projects.get(ada, name)
        assert (found.retain_sessions, found.retain_events, found.retain_logs) == kept


async def test_retention_is_set_in_part(projects: Projects, ada: Actor):
    """
    What is not given stays; 0 is for ever.
    """
    await projects.create(ada, "p")

    changed = await projects.set_retention(ada, "p", sessions=0, logs=5)

    assert (changed.retain_sessions, changed.retain_events, changed.retain_logs) == (0, 30, 5)
    assert await projects.get(ada, "p") == changed
    with pytest.raises(Invalid, match="0 to 36500 days, not -1"):
        await projects.set_retention(ada, "p", events=-1)


async def test_a_variable_is_sealed_and_a_secret_is_never_shown(
    projects: Projects, ada: Actor, database: Store
):
    """
    People see whether it is set; sessions get the value.
    """
    project = await projects.create(ada, "p")
    await projects.set_variable(ada, "p", "TOKEN", "hush-hush", is_secret=True, description="for x")
    await projects.set_variable(ada, "p", "PLAIN", "shown")

    found = {v.name: v for v in await projects.variables(ada, "p")}
    rows = await database.read(lambda tx: repr(tx.connection.execute(sa.select(tables.variables)).all()))
    environment = await database.read(lambda tx: projects.environment(tx, project.id))
    assert (found["TOKEN"].value, found["TOKEN"].is_set, found["TOKEN"].description) == (None, True, "for x")
    assert (found["PLAIN"].value, found["PLAIN"].is_secret) == ("shown", False)
    assert "hush-hush" not in rows
    assert "shown" not in rows
    assert environment == {"TOKEN": "hush-hush", "PLAIN": "shown"}
    assert "hush-hush" not in repr(found)
    entries = await database.read(lambda tx: audit.of_org(tx, ada.org_id))
    assert "hush-hush" not in repr(entries)


async def test_a_variable_can_be_changed_and_deleted(projects: Projects, ada: Actor):
    """
    A description that is not given stays.
    """
    await projects.create(ada, "p")
    await projects.set_variable(ada, "p", "A", "1", description="kept")
    await projects.set_variable(ada, "p", "A", "2")
    [found] = await projects.variables(ada, "p")
    assert (found.value, found.description) == ("2", "kept")

    await projects.delete_variable(ada, "p", "A")

    assert await projects.variables(ada, "p") == []
    with pytest.raises(NotFound, match="no variable 'A'"):
        await projects.delete_variable(ada, "p", "A")


@pytest.mark.parametrize(
    ("name", "value"),
    [("", "x"), ("A=B", "x"), ("A B", "x"), ("A", "a\x00b"), ("A", "x" * 100_001)],
    ids=range(5),
)
async def test_what_cannot_stand_in_an_environment_is_refused(projects: Projects, ada: Actor, name, value):
    """
    At once, instead of in every session; the value is not in the message.
    """
    await projects.create(ada, "p")

    with pytest.raises(Invalid) as caught:
        await projects.set_variable(ada, "p", name, value)
    assert "a\x00b" not in str(caught.value)
    assert "xxxx" not in str(caught.value)


async def test_an_older_deployment_can_be_put_in_service_again(projects: Projects, ada: Actor):
    """
    Triggers stay; one that calls what the older build does not have says so, until it is right again.
    """
    old = await projects.deploy(ada, bundle=a_bundle("project: {name: p}", main="def other(event): ...\n"))
    new = await projects.deploy(ada, bundle=a_bundle(MANIFEST), project="p")

    back = await projects.activate(ada, old.deployment_id)

    states = {d.id: d.state for d in await projects.deployments(ada, "p")}
    assert back.state is DeploymentState.ACTIVE
    assert states[new.deployment_id] is DeploymentState.INACTIVE
    assert (await projects.trigger(ada, "p/hook")).last_error == (
        "main.py:on_open is not in the deployed build; deploy code that has it"
    )
    await projects.activate(ada, new.deployment_id)
    assert (await projects.trigger(ada, "p/hook")).last_error == ""


async def test_one_deployment_of_a_project_is_active(projects: Projects, ada: Actor):
    """
    Whatever was activated how often.
    """
    first = await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    await projects.deploy(ada, bundle=a_bundle(MANIFEST, main="def on_lead(e): ...\ndef on_open(e): ...\n"))
    await projects.activate(ada, first.deployment_id)
    await projects.activate(ada, first.deployment_id)

    states = [d.state for d in await projects.deployments(ada, "lead_router")]
    assert states.count(DeploymentState.ACTIVE) == 1


async def test_a_deployment_is_deleted_once_it_is_out_of_service(
    projects: Projects, ada: Actor, database: Store
):
    """
    Its sessions, which people may want to read, stay.
    """
    made = await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    session = await a_session(database, made.project_id, made.deployment_id, made.build_id, "running")
    with pytest.raises(Conflict, match="is active"):
        await projects.delete_deployment(ada, made.deployment_id)
    assert (await projects.deactivate(ada, made.deployment_id)).state is DeploymentState.DRAINING
    with pytest.raises(Conflict, match="is draining"):
        await projects.delete_deployment(ada, made.deployment_id)
    sessions = tables.sessions
    ended = sa.update(sessions).values(state="error")
    await database.write(lambda tx: tx.connection.execute(ended.values(ended_at=tx.now)))

    await projects.delete_deployment(ada, made.deployment_id)

    assert await projects.deployments(ada, "lead_router") == []
    left = await database.read(lambda tx: tx.connection.execute(sa.select(sessions)).one())
    assert (left.id, left.deployment_id) == (session, None)


async def test_a_deployment_can_be_tested_beside_the_active_one(projects: Projects, ada: Actor):
    """
    It takes only what names it, and goes out of service like any other; the active one cannot be tested.
    """
    first = await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    second = await projects.deploy(ada, bundle=a_bundle(MANIFEST, main=MAIN + "# changed\n"))
    assert first.deployment_id is not None
    assert second.deployment_id is not None

    assert (await projects.test(ada, first.deployment_id)).state is DeploymentState.TESTING
    with pytest.raises(Conflict, match="is active; to test it, activate another"):
        await projects.test(ada, second.deployment_id)
    with pytest.raises(Conflict, match="is testing; deactivate it"):
        await projects.delete_deployment(ada, first.deployment_id)

    states = {d.id: d.state for d in await projects.deployments(ada, "lead_router")}
    assert states[second.deployment_id] is DeploymentState.ACTIVE
    assert (await projects.deactivate(ada, first.deployment_id)).state is DeploymentState.INACTIVE


async def test_a_project_s_sessions_can_be_limited_without_a_deploy(projects: Projects, ada: Actor):
    """
    A manifest that says nothing about it leaves it; nonsense is refused.
    """
    await projects.deploy(ada, bundle=a_bundle(MANIFEST))

    assert (await projects.set_max_concurrent(ada, "lead_router", 3)).max_concurrent == 3
    await projects.deploy(ada, bundle=a_bundle(MANIFEST, main=MAIN + "# changed\n"))
    assert (await projects.get(ada, "lead_router")).max_concurrent == 3
    with pytest.raises(Invalid, match="max_concurrent is 0"):
        await projects.set_max_concurrent(ada, "lead_router", -1)


async def test_after_a_deactivation_a_deploy_activates_again(projects: Projects, ada: Actor):
    """
    "Nothing changed" means that it is in service.
    """
    made = await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    await projects.deactivate(ada, made.deployment_id)

    again = await projects.deploy(ada, bundle=a_bundle(MANIFEST))

    assert again.changed
    assert again.build_id == made.build_id
    assert again.deployment_id != made.deployment_id


async def test_deleting_a_project_leaves_nothing_but_the_audit_log(
    projects: Projects, ada: Actor, database: Store, vault: Vault
):
    """
    Rows, files and the data key; what was copied before cannot be opened any more.
    """
    before = await counts(database)
    made = await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    await a_session(database, made.project_id, made.deployment_id, made.build_id, "running")
    sealed = await database.write(lambda tx: vault.seal(tx, made.project_id, "c", b"x"))

    await projects.delete(ada, "lead_router")

    after = await counts(database)
    assert after.pop("audit") > before.pop("audit")
    assert after == before
    with pytest.raises(SetupError, match="destroyed"):
        await database.read(lambda tx: vault.open(tx, made.project_id, "c", sealed))
    with pytest.raises(NotFound):
        await projects.get(ada, "lead_router")
    newest = (await database.read(lambda tx: audit.of_org(tx, ada.org_id)))[0]
    assert (newest.action, newest.details) == ("project.deleted", {"name": "lead_router"})


@pytest.mark.parametrize("fails", [False, True])
async def test_deleting_a_project_revokes_its_grants(
    projects: Projects, ada: Actor, database: Store, vault: Vault, fails: bool
):
    """
    A provider that cannot be reached does not keep the project alive.
    """
    grants = projects._grants = Grants(fails=fails)
    project = await a_project(database, vault, ada)
    granted = await a_connection(
        database, project, name="a", state=ConnectionState.OK, account=ACCOUNT, account_key="k"
    )
    await a_connection(database, project, name="b")

    await projects.delete(ada, project.id)

    assert grants.ended == [granted.id]
    assert await projects.list(ada) == []


async def test_what_the_others_project_is_called_is_all_the_same(
    projects: Projects, ada: Actor, database: Store
):
    """
    Through every method, a second org sees nothing of the first one's project, by id or by name.
    """
    eve = await a_person(database, org="evil", name="eve")
    made = await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    await projects.set_variable(ada, "lead_router", "TOKEN", "x", is_secret=True)
    trigger = await projects.trigger(ada, "lead_router/hook")
    before = await counts(database)

    attempts = []
    for ref in ("lead_router", made.project_id):
        attempts += [
            projects.get(eve, ref),
            projects.delete(eve, ref),
            projects.set_retention(eve, ref, logs=1),
            projects.set_max_concurrent(eve, ref, 1),
            projects.variables(eve, ref),
            projects.set_variable(eve, ref, "A", "1"),
            projects.delete_variable(eve, ref, "TOKEN"),
            projects.builds(eve, ref),
            projects.deployments(eve, ref),
            projects.triggers(eve, ref),
            projects.trigger(eve, f"{ref}/hook"),
            projects.limit_trigger(eve, f"{ref}/hook", TriggerLimits(max_concurrent=1)),
        ]
    attempts += [
        projects.trigger(eve, trigger.id),
        projects.limit_trigger(eve, trigger.id, TriggerLimits(max_concurrent=1)),
        projects.build(eve, made.build_id),
        projects.environment_logs(eve, made.build_id),
        projects.activate(eve, made.deployment_id),
        projects.test(eve, made.deployment_id),
        projects.deactivate(eve, made.deployment_id),
        projects.delete_deployment(eve, made.deployment_id),
        projects.deploy(eve, bundle=a_bundle(MANIFEST), project=made.project_id),
        projects.lint(eve, bundle=a_bundle(MANIFEST), project=made.project_id),
        projects.candidate(eve, bundle=a_bundle(MANIFEST), project=made.project_id),
        projects.export(eve, made.project_id),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            await attempt

    assert await projects.list(eve) == []
    assert await counts(database) == before
    public = {n for n in vars(Projects) if not n.startswith("_")} - {
        "environment",
        "bundle_of",
        "create",
        "list",
    }
    assert {attempt.cr_code.co_name for attempt in attempts} == public


async def test_a_viewer_looks_and_changes_nothing(projects: Projects, ada: Actor, database: Store):
    """
    Every method that changes something needs a member.
    """
    vic = await a_person(database, name="vic", role=Role.VIEWER, org_id=ada.org_id)
    made = await projects.deploy(ada, bundle=a_bundle(MANIFEST))

    assert (await projects.get(vic, "lead_router")).id == made.project_id
    assert await projects.variables(vic, "lead_router")
    assert await projects.triggers(vic, "lead_router")
    for attempt in (
        projects.create(vic, "x"),
        projects.delete(vic, "lead_router"),
        projects.set_retention(vic, "lead_router", logs=1),
        projects.set_variable(vic, "lead_router", "A", "1"),
        projects.delete_variable(vic, "lead_router", "CHANNEL"),
        projects.activate(vic, made.deployment_id),
        projects.deactivate(vic, made.deployment_id),
        projects.delete_deployment(vic, made.deployment_id),
        projects.limit_trigger(vic, "lead_router/hook", TriggerLimits(max_concurrent=1)),
    ):
        with pytest.raises(Forbidden):
            await attempt


async def test_things_that_are_not_there_are_not_found(projects: Projects, ada: Actor):
    """
    By whatever reference.
    """
    for attempt in (
        projects.get(ada, "nope"),
        projects.get(ada, ids.new("prj")),
        projects.build(ada, "bld_nope"),
        projects.activate(ada, ids.new("dep")),
        projects.trigger(ada, "nope"),
        projects.trigger(ada, "nope/x"),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_the_factories_make_what_the_service_shows(
    projects: Projects, ada: Actor, database: Store, vault: Vault
):
    """
    Other tests stand on them.
    """
    project = await a_project(database, vault, ada)
    build = await a_build(database, project)
    deployment = await a_deployment(database, build)
    trigger = await a_trigger(database, project)

    assert await projects.get(ada, "lead_router") == project
    assert await projects.build(ada, build.id) == build
    assert await projects.deployments(ada, project.id) == [deployment]
    assert await projects.triggers(ada, project.id) == [trigger]
