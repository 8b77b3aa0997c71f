"""
A deploy: everything that a manifest says, all of it or nothing, and never more than it says.
"""

import asyncio
import hashlib

import pytest
import sqlalchemy as sa
from factories import a_connection, a_person
from making import MAIN, MANIFEST, Resolver, a_bundle, a_session, counts, end, tar_of

from ninelives_server import ids
from ninelives_server.errors import Forbidden, Invalid, NotFound
from ninelives_server.model.actors import Actor, Role
from ninelives_server.model.connections import ConnectionState
from ninelives_server.model.projects import DeploymentState
from ninelives_server.projects import bundles, included
from ninelives_server.projects.service import Projects
from ninelives_server.store import audit, connections, tables
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault


async def test_a_first_deploy_makes_everything(projects: Projects, ada: Actor, database: Store):
    """
    Project, variables, connections, triggers, build and deployment, told one by one.
    """
    result = await projects.deploy(ada, bundle=a_bundle(MANIFEST))

    project = await projects.get(ada, "lead_router")
    triggers = {t.name: t for t in await projects.triggers(ada, "lead_router")}
    [deployment] = await projects.deployments(ada, project.id)
    crm = await database.read(lambda tx: connections.by_name(tx, project.id, "crm"))
    assert result.changed
    assert (project.id, deployment.id, deployment.build_id) == (
        result.project_id,
        result.deployment_id,
        result.build_id,
    )
    assert (project.display_name, project.retain_sessions, project.retain_events) == ("Lead router", 7, 30)
    assert deployment.state is DeploymentState.ACTIVE
    assert (crm.state, crm.auth_mode) == (ConnectionState.INIT_REQUIRED, "oauth_private")
    assert (triggers["lead"].connection_id, triggers["lead"].filter) == (crm.id, "data.x == 1")
    assert (triggers["hook"].slug is not None, triggers["lead"].slug) == (True, None)
    assert (triggers["nightly"].schedule, triggers["nightly"].timezone) == ("0 3 * * *", "Europe/Berlin")
    assert result.actions[0] == "create project 'lead_router'"
    assert (
        "connection crm has to be authorised: `ninelives connection init lead_router/crm`" in result.warnings
    )
    assert [w for w in result.warnings if "API_KEY has no value yet" in w]


async def test_again_with_nothing_changed_changes_nothing(projects: Projects, ada: Actor, database: Store):
    """
    No new build, no new deployment, no audit row.
    """
    first = await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    before = await counts(database)

    again = await projects.deploy(ada, bundle=a_bundle(MANIFEST))

    assert (again.changed, again.actions) == (False, ())
    assert (again.project_id, again.build_id, again.deployment_id) == (
        first.project_id,
        first.build_id,
        first.deployment_id,
    )
    assert await counts(database) == before


async def test_a_dry_run_says_what_would_change_and_changes_nothing(
    projects: Projects, ada: Actor, database: Store
):
    """
    The same sentences as the deploy that follows.
    """
    before = await counts(database)
    said = await projects.deploy(ada, bundle=a_bundle(MANIFEST), dry_run=True)
    assert await counts(database) == before
    assert (said.changed, said.project_id, said.build_id, said.deployment_id) == (True, "", None, None)

    done = await projects.deploy(ada, bundle=a_bundle(MANIFEST))

    assert said.actions == done.actions
    assert said.warnings == done.warnings


async def test_a_failing_deploy_leaves_nothing_behind(projects: Projects, ada: Actor, database: Store):
    """
    One transaction: a conflict in the last connection undoes the first variable.
    """
    await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    before = await counts(database)
    broken = MANIFEST.replace('"#sales"', '"#other"').replace(
        "chat, integration: slack", "chat, integration: salesforce"
    )

    with pytest.raises(Invalid, match=r"ninelives.yaml:11: connection 'chat' is a slack connection already"):
        await projects.deploy(ada, bundle=a_bundle(broken))

    assert await counts(database) == before
    assert (await projects.variables(ada, "lead_router"))[1].value == "#sales"


async def test_a_unit_that_breaks_in_the_middle_leaves_nothing_behind(
    projects: Projects, ada: Actor, database: Store, monkeypatch: pytest.MonkeyPatch
):
    """
    Whatever fails while the plan is carried out.
    """
    before = await counts(database)

    def breaks(*args):
        raise RuntimeError("broken")

    monkeypatch.setattr("ninelives_server.projects.activation.new", breaks)
    with pytest.raises(RuntimeError, match="broken"):
        await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    monkeypatch.undo()

    assert await counts(database) == before
    assert (await projects.deploy(ada, bundle=a_bundle(MANIFEST))).changed


async def test_what_the_manifest_has_no_more_is_deleted_and_the_rest_stays(
    projects: Projects, ada: Actor, database: Store
):
    """
    Variables and connections that a manifest brought go with it; those that people made stay.
    """
    await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    await projects.set_variable(ada, "lead_router", "MINE", "1")
    await a_connection(database, await projects.get(ada, "lead_router"), name="by_hand")

    result = await projects.deploy(ada, bundle=a_bundle("version: v1\nproject: {name: lead_router}"))

    assert [v.name for v in await projects.variables(ada, "lead_router")] == ["MINE"]
    assert await projects.triggers(ada, "lead_router") == []
    left = await database.read(lambda tx: connections.of_project(tx, result.project_id))
    assert [connection.name for connection in left] == ["by_hand"]
    assert "delete variable API_KEY, which the manifest does not have any more" in result.actions


async def test_changed_code_is_a_new_deployment_and_the_old_one_goes(projects: Projects, ada: Actor):
    """
    Without sessions it is inactive at once.
    """
    first = await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    second = await projects.deploy(ada, bundle=a_bundle(MANIFEST, main=MAIN + "# changed\n"))

    found = {d.id: d.state for d in await projects.deployments(ada, "lead_router")}
    assert found == {
        first.deployment_id: DeploymentState.INACTIVE,
        second.deployment_id: DeploymentState.ACTIVE,
    }
    assert len(second.actions) == 2


async def test_going_back_to_older_code_uses_the_old_build(projects: Projects, ada: Actor):
    """
    The same files are the same build; the deployment is another one.
    """
    first = await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    await projects.deploy(ada, bundle=a_bundle(MANIFEST, main=MAIN + "# changed\n"))

    third = await projects.deploy(ada, bundle=a_bundle(MANIFEST))

    assert third.build_id == first.build_id
    assert third.deployment_id != first.deployment_id
    assert len(await projects.builds(ada, "lead_router")) == 2


async def test_a_deployment_drains_while_it_has_sessions(projects: Projects, ada: Actor, database: Store):
    """
    Running sessions are never touched; once the last one ends, the deployment is inactive.
    """
    first = await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    session = await a_session(database, first.project_id, first.deployment_id, first.build_id, "waiting")

    await projects.deploy(ada, bundle=a_bundle(MANIFEST, main=MAIN + "# changed\n"))
    [_, old] = await projects.deployments(ada, "lead_router")
    assert (old.id, old.state) == (first.deployment_id, DeploymentState.DRAINING)
    await end(database, session)

    [_, old] = await projects.deployments(ada, "lead_router")
    assert old.state is DeploymentState.INACTIVE


async def test_the_name_can_be_given(projects: Projects, ada: Actor):
    """
    By name, which may be new, or by id, which may not.
    """
    first = await projects.deploy(ada, bundle=a_bundle(MANIFEST), project="other")
    second = await projects.deploy(ada, bundle=a_bundle(MANIFEST), project=first.project_id)

    assert (await projects.get(ada, first.project_id)).name == "other"
    assert not second.changed
    with pytest.raises(NotFound):
        await projects.deploy(ada, bundle=a_bundle(MANIFEST), project=ids.new("prj"))
    with pytest.raises(Invalid, match="letters, digits"):
        await projects.deploy(ada, bundle=a_bundle(MANIFEST), project="a b")


async def test_code_alone_can_be_deployed_onto_a_name(projects: Projects, ada: Actor):
    """
    Without a manifest, what there is stays as it is.
    """
    await projects.deploy(ada, bundle=a_bundle(MANIFEST))

    result = await projects.deploy(ada, bundle=tar_of({"main.py": MAIN}), project="lead_router")

    assert len(await projects.triggers(ada, "lead_router")) == 3
    assert len(result.actions) == 2
    with pytest.raises(Invalid, match=r"no ninelives.yaml and no autokitteh.yaml; `ninelives init NAME`"):
        await projects.deploy(ada, bundle=tar_of({"main.py": MAIN}))


async def test_an_autokitteh_project_deploys_unchanged(projects: Projects, ada: Actor):
    """
    Its manifest under its own name; with both, ours counts.
    """
    alone = await projects.deploy(ada, bundle=tar_of({"autokitteh.yaml": MANIFEST, "main.py": MAIN}))
    both = await projects.deploy(
        ada, bundle=tar_of({"autokitteh.yaml": "nonsense", "ninelives.yaml": MANIFEST, "main.py": MAIN})
    )

    assert alone.changed
    assert "autokitteh.yaml is ignored; there is ninelives.yaml" in both.warnings


async def test_a_manifest_without_a_name_needs_one(projects: Projects, ada: Actor):
    """
    The error says both ways to give it.
    """
    with pytest.raises(Invalid, match=r"ninelives.yaml:1: the project has no 'name'; or say --project NAME"):
        await projects.deploy(ada, bundle=a_bundle("version: v1\nproject: {display_name: x}"))


async def test_a_manifest_that_cannot_be_read_is_not_said_to_be_missing(projects: Projects, ada: Actor):
    """
    File, line and reason, as lint says them; only without a manifest there is none.
    """
    with pytest.raises(Invalid, match=r"ninelives\.yaml:2: is no YAML"):
        await projects.deploy(ada, bundle=a_bundle("a: [1\n b: }"))
    with pytest.raises(Invalid, match=r"ninelives\.yaml:1: has 1100000 characters"):
        await projects.deploy(ada, bundle=a_bundle("#" * 1_100_000), dry_run=True)
    with pytest.raises(Invalid, match=r"has no ninelives\.yaml and no autokitteh\.yaml"):
        await projects.deploy(ada, bundle=tar_of({"main.py": MAIN}))


async def test_a_name_that_is_missing_is_told_with_everything_else(projects: Projects, ada: Actor):
    """
    All errors come at once.
    """
    manifest = "project:\n  triggers:\n    - {name: t, type: webhook, call: main.py:nobody}\n"

    with pytest.raises(Invalid) as refused:
        await projects.deploy(ada, bundle=a_bundle(manifest))

    assert "ninelives.yaml:1: the project has no 'name'" in str(refused.value)
    assert "ninelives.yaml:3: trigger 't' calls main.py:nobody" in str(refused.value)


async def test_requirements_are_resolved_once_for_a_build(projects: Projects, ada: Actor):
    """
    What a build runs with is decided when it is made, and kept with it.
    """
    resolver: Resolver = projects._deploys._resolver
    bundle = tar_of(
        {
            "ninelives.yaml": MANIFEST,
            "main.py": "import autokitteh.salesforce\n" + MAIN,
            "requirements.txt": "requests\n",
        }
    )

    first = await projects.deploy(ada, bundle=bundle)
    await projects.deploy(ada, bundle=bundle)

    build = await projects.build(ada, first.build_id)
    assert resolver.asked == ["requests\nautokitteh==0.8.3\nsimple-salesforce~=1.12\n"]
    assert build.requirements == ("requests==1.0", "autokitteh==1.0", "simple-salesforce==1.0")


async def test_a_build_of_an_earlier_release_without_what_this_one_adds_is_made_anew(
    projects: Projects, ada: Actor, monkeypatch: pytest.MonkeyPatch
):
    """
    Else the same files would go on to fail for want of a library. The old build stays, for sessions that run.
    """
    code = (
        "import autokitteh\nfrom autokitteh import packages\npackages.install('git+https://host.example/x')\n"
    )
    bundle = tar_of({"ninelives.yaml": MANIFEST, "main.py": code + "import flask\n" + MAIN})
    before = await projects.deploy(ada, bundle=bundle)
    same = await projects.deploy(ada, bundle=bundle)
    monkeypatch.setitem(included._LIBRARIES, "flask", "flask")

    plan = await projects.deploy(ada, bundle=bundle, dry_run=True)
    candidate = await projects.candidate(ada, bundle=bundle)
    after = await projects.deploy(ada, bundle=bundle)
    again = await projects.deploy(ada, bundle=bundle)

    assert not same.changed
    assert plan.changed
    assert after.changed
    assert not again.changed
    assert before.build_id != after.build_id == again.build_id
    assert "flask==1.0" not in (await projects.build(ada, before.build_id)).requirements
    new = await projects.build(ada, after.build_id)
    assert "flask==1.0" in new.requirements
    assert candidate.sha256 == new.sha256
    assert bundles.read(await projects.bundle_of(new.id)) == bundles.read(bundle)


async def test_requirements_that_cannot_be_resolved_stop_the_deploy(
    projects: Projects, ada: Actor, database: Store
):
    """
    In the resolver's words, and nothing is changed.
    """
    before = await counts(database)
    bundle = tar_of({"ninelives.yaml": MANIFEST, "main.py": MAIN, "requirements.txt": "no-such-package"})

    with pytest.raises(Invalid, match="no-such-package was not found"):
        await projects.deploy(ada, bundle=bundle)

    assert await counts(database) == before


async def test_workers_get_the_files_that_were_deployed(projects: Projects, ada: Actor, database: Store):
    """
    In parts of a megabyte, sealed, and back again.
    """
    # Not compressible, so that there is more than one part.
    noise = b"".join(hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(50_000))
    bundle = tar_of({"ninelives.yaml": MANIFEST, "main.py": MAIN, "data.bin": noise})

    result = await projects.deploy(ada, bundle=bundle)

    back = bundles.read(await projects.bundle_of(result.build_id))
    rows = await database.read(lambda tx: tx.connection.execute(sa.select(tables.blobs)).all())
    assert back == bundles.read(bundle)
    assert len(rows) == 2
    assert not [
        row for row in rows if len(row.sealed_data) > 1024 * 1024 + 100 or b"on_lead" in row.sealed_data
    ]
    with pytest.raises(NotFound):
        await projects.bundle_of("bld_nope")


async def test_two_projects_with_the_same_names_share_nothing(
    projects: Projects, ada: Actor, database: Store
):
    """
    The same files, connections, variables and triggers: two of each.
    """
    one = await projects.deploy(ada, bundle=a_bundle(MANIFEST), project="one")
    two = await projects.deploy(ada, bundle=a_bundle(MANIFEST), project="two")
    await projects.set_variable(ada, "one", "API_KEY", "of one", is_secret=True)

    assert one.build_id != two.build_id
    hooks = [await projects.trigger(ada, f"{name}/hook") for name in ("one", "two")]
    assert hooks[0].slug != hooks[1].slug
    environments = [
        await database.read(lambda tx, p=p: projects.environment(tx, p.project_id)) for p in (one, two)
    ]
    assert [e["API_KEY"] for e in environments] == ["of one", ""]
    crm = await database.read(lambda tx: connections.by_name(tx, two.project_id, "crm"))
    assert (await projects.trigger(ada, "two/lead")).connection_id == crm.id


async def test_two_who_deploy_at_once_make_one_project(projects: Projects, ada: Actor):
    """
    The second one finds what the first one made.
    """
    ends = await asyncio.gather(*(projects.deploy(ada, bundle=a_bundle(MANIFEST)) for _ in range(4)))

    assert sorted(end.changed for end in ends) == [False, False, False, True]
    assert len({(end.project_id, end.build_id, end.deployment_id) for end in ends}) == 1


async def test_each_change_is_written_down(projects: Projects, ada: Actor, database: Store):
    """
    In the same unit, with who did it; never a value.
    """
    await projects.deploy(ada, bundle=a_bundle(MANIFEST))

    entries = await database.read(lambda tx: audit.of_org(tx, ada.org_id, limit=100))
    assert sorted(e.action for e in entries) == sorted(
        ["project.created", "project.retention_set", "build.created", "deployment.activated"]
        + ["variable.set"] * 2 + ["connection.created"] * 2 + ["trigger.created"] * 3
    )  # fmt: skip
    assert {e.actor for e in entries} == {ada.id}
    assert "#sales" not in repr(entries)


async def test_a_viewer_does_not_deploy(projects: Projects, database: Store, ada: Actor):
    """
    Nor does a token that may only read.
    """
    viewer = await a_person(database, name="vic", role=Role.VIEWER, org_id=ada.org_id)

    with pytest.raises(Forbidden):
        await projects.deploy(viewer, bundle=a_bundle(MANIFEST), dry_run=True)


async def test_another_org_deploys_onto_a_project_of_its_own(
    projects: Projects, ada: Actor, database: Store, vault: Vault
):
    """
    The same name in another org is another project.
    """
    eve = await a_person(database, org="evil", name="eve")
    hers = await projects.deploy(ada, bundle=a_bundle(MANIFEST))

    theirs = await projects.deploy(eve, bundle=a_bundle(MANIFEST))

    assert theirs.project_id != hers.project_id
    assert theirs.changed
    with pytest.raises(NotFound):
        await projects.deploy(eve, bundle=a_bundle(MANIFEST), project=hers.project_id)
    assert len(await projects.deployments(ada, "lead_router")) == 1
