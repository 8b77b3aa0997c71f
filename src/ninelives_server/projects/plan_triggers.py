"""Triggers in a plan: they are as the manifest says, and a webhook keeps its address."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ninelives_server import ids
from ninelives_server.ids import ConnectionId, TriggerId
from ninelives_server.model.triggers import Trigger, TriggerType
from ninelives_server.projects.manifest import Manifest, ManifestTrigger
from ninelives_server.projects.planning import Scene
from ninelives_server.store import triggers


def plan(scene: Scene, manifest: Manifest, known: Mapping[str, ConnectionId]) -> None:
    """Plan what to create, change and delete; `known` are the connections that may be named."""
    there = {trigger.name: trigger for trigger in triggers.of_project(scene.tx, scene.plan.project_id)}
    names = {trigger.name for trigger in manifest.triggers}
    for old in there.values():
        if old.name not in names:
            _delete(scene, f"delete trigger {old.name}, which the manifest does not have any more", old)
    for wanted in manifest.triggers:
        connection_id = known[wanted.connection] if wanted.connection else None
        trigger = there.get(wanted.name)
        if trigger is not None and trigger.type is not wanted.type:
            _delete(scene, f"delete trigger {wanted.name}, which was a {trigger.type}", trigger)
            trigger = None
        if trigger is None:
            _create(scene, wanted, connection_id)
        else:
            _change(scene, trigger, wanted, connection_id)


def _terms(wanted: ManifestTrigger, connection_id: ConnectionId | None) -> dict[str, Any]:
    """Return what a manifest says about a trigger, as fields of the model."""
    return {
        "connection_id": connection_id,
        "event_type": wanted.event_type,
        "filter": wanted.filter,
        "call": wanted.call,
        "schedule": wanted.schedule,
        "timezone": wanted.timezone,
        "is_durable": wanted.is_durable,
        "is_sync": wanted.is_sync,
        "options": dict(wanted.options),
    }


def _create(scene: Scene, wanted: ManifestTrigger, connection_id: ConnectionId | None) -> None:
    trigger = Trigger(
        id=TriggerId(ids.new("trg")),
        project_id=scene.plan.project_id,
        name=wanted.name,
        type=wanted.type,
        slug=ids.new_slug() if wanted.type is TriggerType.WEBHOOK else None,
        last_error="",
        last_error_at=None,
        created_at=scene.tx.now,
        created_by=scene.actor.id,
        **_terms(wanted, connection_id),
    )

    def step() -> None:
        triggers.insert(scene.tx, trigger)
        scene.record("trigger.created", trigger.id, {"name": trigger.name})

    scene.plan.add(f"create trigger {wanted.name} ({wanted.type})", step)


def _change(scene: Scene, old: Trigger, wanted: ManifestTrigger, connection_id: ConnectionId | None) -> None:
    """Keep id and slug: the address of a webhook is written down elsewhere."""
    terms = _terms(wanted, connection_id)
    changed = sorted(name for name, value in terms.items() if getattr(old, name) != value)
    if not changed:
        return
    trigger = replace(old, **terms)

    def step() -> None:
        triggers.update(scene.tx, trigger)
        scene.record("trigger.changed", trigger.id, {"name": trigger.name, "changed": changed})

    said = ", ".join("connection" if name == "connection_id" else name for name in changed)
    scene.plan.add(f"change trigger {wanted.name} ({said})", step)


def _delete(scene: Scene, sentence: str, trigger: Trigger) -> None:
    def step() -> None:
        triggers.delete(scene.tx, trigger.id)
        scene.record("trigger.deleted", trigger.id, {"name": trigger.name})

    scene.plan.add(sentence, step)
