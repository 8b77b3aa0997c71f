"""
Rows of projects, builds and deployments: what the queries promise besides what the service tests show.
"""

import pytest
import sqlalchemy as sa
from factories import a_build, a_deployment, a_person, a_project

from ninelives_server.model.projects import DeploymentState
from ninelives_server.store import builds, projects
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault


async def test_a_project_is_found_in_its_own_org_only(database: Store, vault: Vault):
    """
    Each query names the org; there is none that does not.
    """
    ada = await a_person(database)
    eve = await a_person(database, org="evil", name="eve")
    project = await a_project(database, vault, ada)

    assert await database.read(lambda tx: projects.by_id(tx, ada.org_id, project.id)) == project
    assert await database.read(lambda tx: projects.by_id(tx, eve.org_id, project.id)) is None
    assert await database.read(lambda tx: projects.by_name(tx, eve.org_id, project.name)) is None
    assert await database.read(lambda tx: projects.of_org(tx, eve.org_id)) == []


async def test_a_build_comes_back_as_it_was(database: Store, vault: Vault):
    """
    With and without a manifest; nested values keep their form.
    """
    project = await a_project(database, vault, await a_person(database))
    with_one = await a_build(
        database,
        project,
        sha256="1" * 64,
        requirements=["a==1"],
        manifest={"project": {"vars": [{"name": "X"}]}},
    )
    without = await a_build(database, project, sha256="2" * 64, entrypoints=[])

    assert await database.read(lambda tx: builds.by_id(tx, with_one.id)) == with_one
    assert await database.read(lambda tx: builds.by_sha256(tx, project.id, "2" * 64)) == without
    assert await database.read(lambda tx: builds.of_project(tx, project.id)) in (
        [without, with_one],
        [with_one, without],  # made in the same millisecond
    )


async def test_the_same_content_is_one_build_of_a_project(database: Store, vault: Vault):
    """
    The database sees to it, whatever two deploys do at once.
    """
    project = await a_project(database, vault, await a_person(database))
    await a_build(database, project)

    with pytest.raises(sa.exc.IntegrityError):
        await a_build(database, project)


async def test_parts_of_a_bundle_keep_their_order(database: Store, vault: Vault):
    """
    More than ten, so that a sort by text would be noticed.
    """
    project = await a_project(database, vault, await a_person(database))
    parts = [bytes([n]) for n in range(12)]

    await database.write(lambda tx: builds.put_bundle(tx, project.id, "0" * 64, parts))

    assert await database.read(lambda tx: builds.bundle(tx, project.id, "0" * 64)) == parts


async def test_a_deployment_drains_no_longer_than_it_has_sessions(database: Store, vault: Vault):
    """
    Nobody has to come by and tidy up.
    """
    project = await a_project(database, vault, await a_person(database))
    build = await a_build(database, project)
    made = await a_deployment(database, build, state=DeploymentState.DRAINING)

    found = await database.read(lambda tx: builds.deployment_by_id(tx, made.id))

    assert found.state is DeploymentState.INACTIVE
    assert await database.read(lambda tx: builds.active(tx, project.id)) is None
