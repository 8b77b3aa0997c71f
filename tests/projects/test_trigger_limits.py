"""Limits of a trigger that are set without a deploy."""

import pytest
from factories import a_person, a_project, a_trigger

from ninelives_server.errors import Invalid, NotFound
from ninelives_server.events.filters import Filters
from ninelives_server.model.triggers import Overlap
from ninelives_server.projects import trigger_limits
from ninelives_server.projects.trigger_limits import TriggerLimits
from ninelives_server.store import audit, triggers
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault


class Scene:
    def __init__(self, store: Store, actor, trigger) -> None:
        self.store, self.actor, self.trigger = store, actor, trigger

    async def set(self, *, actor=None, **limits: object):
        wanted = TriggerLimits(**limits)
        who = actor or self.actor
        return await self.store.write(
            lambda tx: trigger_limits.change(tx, who, self.trigger.id, wanted, Filters())
        )


@pytest.fixture
async def scene(sqlite: Store, vault: Vault) -> Scene:
    await sqlite.write(vault.start)
    actor = await a_person(sqlite)
    project = await a_project(sqlite, vault, actor)
    options = {"key": "data.id", "auth": {"scheme": "token", "secret": "T"}}
    return Scene(sqlite, actor, await a_trigger(sqlite, project, name="hook", options=options))


async def test_what_is_not_named_stays(scene: Scene):
    """
    Of the limits and of everything else that the trigger has.
    """
    first = await scene.set(max_concurrent=3)
    second = await scene.set(overlap=Overlap.SKIP)
    third = await scene.set(key="", max_concurrent=0)

    auth = scene.trigger.options["auth"]
    assert dict(first.options) == {"key": "data.id", "auth": auth, "max_concurrent": 3}
    assert (second.max_concurrent, second.key, second.overlap) == (3, "data.id", Overlap.SKIP)
    assert dict(third.options) == {"auth": auth, "overlap": "skip"}


async def test_a_change_is_told_and_written_down_once(scene: Scene):
    """
    Whoever holds sessions back looks again; the same limits again are no change.
    """
    with scene.store.notices.subscribed("queue") as notice:
        for _ in range(2):
            await scene.set(max_concurrent=3)
        told = notice.take()

    rows = await scene.store.read(lambda tx: audit.of_org(tx, scene.actor.org_id, limit=10))
    assert told == {scene.trigger.project_id}
    assert [row.details for row in rows if row.action == "trigger.changed"] == [
        {"name": "hook", "changed": ["max_concurrent"]}
    ]


@pytest.mark.parametrize(
    ("limits", "field", "said"),
    [
        ({"max_concurrent": -1}, "max_concurrent", "0 (any number) to 100000, not -1"),
        ({"max_concurrent": 2, "overlap": Overlap.QUEUE_ONE}, "max_concurrent", "one session at a time"),
        ({"key": "data."}, "key", "the key 'data.' is no expression"),
    ],
)
async def test_a_wrong_limit_changes_nothing(scene: Scene, limits, field: str, said: str):
    """
    The error names the field, and the value.
    """
    with pytest.raises(Invalid) as caught:
        await scene.set(**limits)

    found = await scene.store.read(lambda tx: triggers.by_id(tx, scene.trigger.id))
    assert said in caught.value.fields[field]
    assert found == scene.trigger


async def test_another_orgs_trigger_is_not_there(scene: Scene):
    """
    Not even for somebody who knows its id.
    """
    stranger = await a_person(scene.store, org="other", name="eve")

    with pytest.raises(NotFound):
        await scene.set(actor=stranger, max_concurrent=3)
