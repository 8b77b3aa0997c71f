"""Variables in a plan: the manifest's values win, but for empty ones; what people made stays."""

from dataclasses import dataclass

from ninelives_server.projects import variables
from ninelives_server.projects.manifest import Manifest, ManifestVariable
from ninelives_server.projects.planning import Scene
from ninelives_server.store import projects


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a variable is going to be."""

    value: str
    is_secret: bool
    description: str


def plan(scene: Scene, manifest: Manifest) -> None:
    """Plan what has to be set, and what to delete because a manifest brought it and has it no more."""
    there = (
        {} if scene.plan.is_new_project else variables.opened(scene.tx, scene.vault, scene.plan.project_id)
    )
    for wanted in manifest.variables:
        variables.checked(wanted.name, wanted.value)
        stored, value = there.get(wanted.name, (None, ""))
        before = None if stored is None else _Terms(value, stored.is_secret, stored.description)
        terms = _terms(wanted, before)
        if terms != before:
            verb = "set" if before is None else "change"
            _set(scene, f"{verb} variable {wanted.name}", wanted.name, terms)
    declared = {variable.name for variable in manifest.variables}
    for name in sorted((there.keys() & scene.declared_before["vars"]) - declared):
        _delete(scene, name)


def _terms(wanted: ManifestVariable, before: _Terms | None) -> _Terms:
    """Return what a variable becomes: an empty value never overwrites one that is set."""
    if before is None:
        return _Terms(wanted.value, wanted.is_secret, wanted.description)
    # Without a new value a secret stays one: a manifest must not show what somebody has hidden.
    is_secret = wanted.is_secret or (before.is_secret and not wanted.value)
    return _Terms(wanted.value or before.value, is_secret, wanted.description or before.description)


def _set(scene: Scene, sentence: str, name: str, terms: _Terms) -> None:
    def step() -> None:
        variables.put(
            scene.tx,
            scene.vault,
            scene.plan.project_id,
            name=name,
            value=terms.value,
            is_secret=terms.is_secret,
            description=terms.description,
            created_by=scene.actor.id,
        )
        scene.record("variable.set", f"{scene.plan.project_id}/{name}")

    scene.plan.add(sentence, step)


def _delete(scene: Scene, name: str) -> None:
    def step() -> None:
        projects.delete_variable(scene.tx, scene.plan.project_id, name)
        scene.record("variable.deleted", f"{scene.plan.project_id}/{name}")

    scene.plan.add(f"delete variable {name}, which the manifest does not have any more", step)
