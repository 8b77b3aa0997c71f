"""What a deploy changes: the difference between what is wanted and what is there.

First everything is decided, then it is done, in one unit; a dry run is the first half. Names that are there
are adopted. Never done: to overwrite a value with an empty one, to touch a credential, to delete what people
made by hand or a connection that is authorised.
"""

from collections.abc import Mapping
from dataclasses import replace

from ninelives_server import ids
from ninelives_server.ids import BuildId, ProjectId
from ninelives_server.integrations.registry import Registry
from ninelives_server.model.actors import Actor
from ninelives_server.model.projects import Build, Project
from ninelives_server.projects import (
    activation,
    bundles,
    find,
    plan_connections,
    plan_triggers,
    plan_variables,
)
from ninelives_server.projects import manifest as manifests
from ninelives_server.projects.planning import Plan, Scene, Wanted
from ninelives_server.settings import RetentionSettings
from ninelives_server.store import builds, projects
from ninelives_server.store.core import Tx
from ninelives_server.vault.vault import Vault

#: Bundles are stored in rows of this size at most. bytes
PART = 1024 * 1024


def plan(
    tx: Tx, actor: Actor, wanted: Wanted, vault: Vault, registry: Registry, days: RetentionSettings
) -> Plan:
    """Decide what has to change; nothing is written before `carry_out`, which belongs into the same unit.

    Raises:
        Invalid: The manifest cannot be applied to what is there.
    """
    project = projects.by_name(tx, actor.org_id, wanted.name)
    project_id = ProjectId(ids.new("prj")) if project is None else project.id
    build = None if project is None else builds.by_sha256(tx, project_id, wanted.bundle.sha256)
    build_id = BuildId(ids.new("bld")) if build is None else build.id
    scene = Scene(
        tx=tx,
        actor=actor,
        wanted=wanted,
        plan=Plan(project_id, build_id, is_new_project=project is None),
        vault=vault,
        registry=registry,
        declared_before=_declared_before(tx, project),
    )
    _plan_project(scene, project, days)
    if wanted.manifest is not None:
        plan_variables.plan(scene, wanted.manifest)
        known = plan_connections.plan(scene, wanted.manifest)
        plan_triggers.plan(scene, wanted.manifest, known)
        # After the triggers: one that goes together with its connection is gone by then.
        plan_connections.plan_removal(scene, wanted.manifest)
    if build is None:
        _plan_build(scene)
    _plan_deployment(scene)
    return scene.plan


def part_context(sha256: str, number: int) -> str:
    """Return where a part of a bundle stands, for the vault."""
    return f"blobs:{sha256}/{number}:bundle"


def _declared_before(tx: Tx, project: Project | None) -> dict[str, frozenset[str]]:
    """Return the names in the manifest of the deploy before this one."""
    for deployment in [] if project is None else builds.deployments_of(tx, project.id):
        build = builds.by_id(tx, deployment.build_id)
        if build is not None and build.manifest is not None:
            declared = build.manifest["project"]
            assert isinstance(declared, dict)
            return {key: frozenset(item["name"] for item in declared[key]) for key in ("vars", "connections")}
    return {"vars": frozenset(), "connections": frozenset()}


def _plan_project(scene: Scene, project: Project | None, default_days: RetentionSettings) -> None:
    manifest = scene.wanted.manifest
    if project is None:
        sentence = f"create project {scene.wanted.name!r}"
        scene.plan.add(sentence, lambda: _create_project(scene, default_days))
    if manifest is None:
        return
    if project is not None and manifest.display_name not in {None, project.display_name}:
        display_name = manifest.display_name or ""
        scene.plan.add(f"call it {display_name!r}", lambda: _rename(scene, display_name))
    limit = manifest.max_concurrent
    if limit is not None and limit != (0 if project is None else project.max_concurrent):
        scene.plan.add(
            f"run at most {limit or 'any number of'} sessions at once", lambda: _limit(scene, limit)
        )
    days = {
        name: count
        for name, count in manifest.retention.items()
        if project is None or getattr(project, f"retain_{name}") != count
    }
    if days:
        said = ", ".join(f"{name} for {count or 'ever'}" for name, count in days.items())
        scene.plan.add(f"keep {said} (days)", lambda: _retain(scene, days))


def _create_project(scene: Scene, days: RetentionSettings) -> None:
    manifest = scene.wanted.manifest
    project = find.made_now(scene.tx, scene.actor, scene.plan.project_id, scene.wanted.name, days)
    display_name = (manifest.display_name if manifest else None) or ""
    projects.insert(scene.tx, replace(project, display_name=display_name))
    scene.vault.create_key(scene.tx, project.id)
    scene.record("project.created", project.id, {"name": project.name})


def _rename(scene: Scene, display_name: str) -> None:
    projects.set_display_name(scene.tx, scene.plan.project_id, display_name)
    scene.record("project.renamed", scene.plan.project_id)


def _retain(scene: Scene, days: Mapping[str, int]) -> None:
    projects.set_retention(scene.tx, scene.plan.project_id, **days)
    scene.record("project.retention_set", scene.plan.project_id, days)


def _limit(scene: Scene, limit: int) -> None:
    projects.set_max_concurrent(scene.tx, scene.plan.project_id, limit)
    scene.record("project.limited", scene.plan.project_id, {"max_concurrent": limit})


def _plan_build(scene: Scene) -> None:
    bundle = scene.wanted.bundle
    size = f"{len(bundle.files)} files, {bundle.size_bytes:,} bytes"
    scene.plan.add(f"store build {bundle.sha256[:12]} ({size})", lambda: _store_build(scene))


def _store_build(scene: Scene) -> None:
    wanted, tx = scene.wanted, scene.tx
    build = Build(
        id=scene.plan.build_id,
        project_id=scene.plan.project_id,
        sha256=wanted.bundle.sha256,
        size_bytes=wanted.bundle.size_bytes,
        entrypoints=wanted.code.entrypoints,
        requirements=tuple(wanted.requirements),
        manifest=None if wanted.manifest is None else manifests.to_json(wanted.manifest),
        created_at=tx.now,
        created_by=scene.actor.id,
    )
    builds.insert(tx, build)
    packed = bundles.pack(wanted.bundle)
    sealed = [
        scene.vault.seal(
            tx, build.project_id, part_context(build.sha256, number), packed[start : start + PART]
        )
        for number, start in enumerate(range(0, len(packed), PART))
    ]
    builds.put_bundle(tx, build.project_id, build.sha256, sealed)
    scene.record("build.created", build.id, {"sha256": build.sha256})


def _plan_deployment(scene: Scene) -> None:
    active = None if scene.plan.is_new_project else builds.active(scene.tx, scene.plan.project_id)
    if active is not None and active.build_id == scene.plan.build_id:
        scene.plan.deployment_id = active.id
        return
    drains = "" if active is None else f"; {active.id} finishes the sessions that it has"
    scene.plan.add(f"activate it{drains}", lambda: _activate(scene))


def _activate(scene: Scene) -> None:
    made = activation.new(scene.tx, scene.plan.project_id, scene.plan.build_id, scene.actor.id)
    scene.plan.deployment_id = made.id
    scene.record("deployment.activated", made.id, {"build_id": made.build_id})
