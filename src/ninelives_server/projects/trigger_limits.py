"""Limits of a trigger, set without a deploy: until the next one, which makes it what the manifest says."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ninelives_server.errors import Invalid
from ninelives_server.model.actors import Actor
from ninelives_server.model.triggers import Overlap, Trigger
from ninelives_server.projects import find
from ninelives_server.projects.checks import FilterCheck
from ninelives_server.store import audit, triggers
from ninelives_server.store.core import Tx

_MOST = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerLimits:
    """What to change; `None` leaves it as it is.

    Attributes:
        max_concurrent: Sessions that may be open at once; 0 is any number.
        key: CEL expression; of equal values one session runs at a time. Empty is none.
        overlap: What an event does while earlier sessions are open.
    """

    max_concurrent: int | None = None
    key: str | None = None
    overlap: Overlap | None = None


def change(tx: Tx, actor: Actor, ref: str, wanted: TriggerLimits, filters: FilterCheck) -> Trigger:
    """Change a trigger's limits; sessions that wait already keep the key that they have.

    Raises:
        NotFound: The actor's org has no such trigger.
        Invalid: One of them has no such value, or they contradict each other.
    """
    trigger = find.trigger(tx, actor, ref)
    triggers.lock(tx, trigger.id)
    trigger = find.trigger(tx, actor, trigger.id)
    given = {
        "max_concurrent": wanted.max_concurrent,
        "key": None if wanted.key is None else wanted.key.strip(),
        "overlap": None if wanted.overlap is None else str(wanted.overlap),
    }
    options = {**trigger.options, **{name: value for name, value in given.items() if value is not None}}
    _check(options, filters)
    # As the manifest keeps them: what means the default is left out.
    defaults: Mapping[str, Any] = {"max_concurrent": 0, "key": "", "overlap": str(Overlap.ALLOW)}
    options = {name: value for name, value in options.items() if value != defaults.get(name)}
    changed = sorted(name for name in defaults if options.get(name) != trigger.options.get(name))
    if changed:
        triggers.update(tx, replace(trigger, options=options))
        details = {"name": trigger.name, "changed": changed}
        project_id = trigger.project_id
        audit.record(tx, actor, "trigger.changed", trigger.id, project_id=project_id, details=details)
    return find.trigger(tx, actor, trigger.id)


def _check(options: Mapping[str, Any], filters: FilterCheck) -> None:
    limit, key = options.get("max_concurrent", 0), options.get("key", "")
    if not 0 <= limit <= _MOST:
        raise _wrong("max_concurrent", f"max_concurrent is 0 (any number) to {_MOST}, not {limit}")
    if options.get("overlap") == Overlap.QUEUE_ONE and limit not in {0, 1}:
        raise _wrong(
            "max_concurrent", f"'overlap: queue one' runs one session at a time; max_concurrent is {limit}"
        )
    if trouble := filters.check_key(key):
        raise _wrong("key", f"the key {key!r} is no expression: {trouble}")


def _wrong(field: str, message: str) -> Invalid:
    return Invalid(message, fields={field: message})
