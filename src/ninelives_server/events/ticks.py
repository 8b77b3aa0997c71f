"""What a time of a schedule starts: an event `tick`, once, and what is made up for after an outage.

Times come from Temporal, and from our own reckoning of what Temporal should have sent. Up to where a trigger
is settled stands in its row, so that neither an outage nor an empty Temporal loses or repeats a time.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from ninelives_server import log
from ninelives_server.events.ingest import Ingest, Recorded
from ninelives_server.model import schedules
from ninelives_server.model.events import NewEvent
from ninelives_server.model.schedules import BadSchedule
from ninelives_server.model.triggers import CatchUp, Trigger
from ninelives_server.store import triggers
from ninelives_server.store.core import Store, Tx
from ninelives_server.store.triggers import Scheduled

logger = log.get(__name__)

#: A time counts as missed when nobody has settled it for so long.
GRACE = timedelta(seconds=60)
#: Of missed times, the newest so many are made up for at most.
MOST = 1000
TICK = "tick"


class Ticks:
    """Settles the times of schedules."""

    def __init__(self, *, store: Store, ingest: Ingest) -> None:
        self._store = store
        self._ingest = ingest

    async def tick(self, trigger_id: str, at: datetime) -> None:
        """Take a time that Temporal has sent; the same one again changes nothing."""
        recorded = await self._store.write(lambda tx: self._settle(tx, trigger_id, at))
        self._ingest.announce(recorded)

    async def make_up(self) -> int:
        """Settle the times that nobody has sent, and return how many events that made."""
        wanted = await self._store.read(triggers.scheduled)
        total = 0
        for scheduled in wanted:
            if scheduled.active_since is None or not await self._store.read(lambda tx: _owes(tx, scheduled)):  # noqa: B023
                continue
            trigger_id = scheduled.trigger.id
            recorded = await self._store.write(lambda tx: self._settle(tx, trigger_id, None))  # noqa: B023
            self._ingest.announce(recorded)
            total += len(recorded)
            logger.info("schedule.made_up", trigger_id=trigger_id, events=len(recorded))
        return total

    def _settle(self, tx: Tx, trigger_id: str, at: datetime | None) -> Sequence[Recorded]:
        scheduled = triggers.scheduled_one(tx, trigger_id)
        if scheduled is None or scheduled.active_since is None:
            return []
        missed = _missed(tx, scheduled)
        times = chosen(scheduled.trigger.catch_up, missed, at, now=tx.now, settled=scheduled.ticked_at)
        if last := max([*missed, *([] if at is None else [at])], default=None):
            triggers.set_ticked(tx, trigger_id, last)
        return self._ingest.record_in(tx, [_event(scheduled.trigger, time, tx.now) for time in times])


def chosen(
    policy: CatchUp,
    missed: Sequence[datetime],
    at: datetime | None,
    *,
    now: datetime,
    settled: datetime | None,
) -> list[datetime]:
    """Return which times make an event.

    Args:
        policy: Of the trigger.
        missed: Times that nobody has sent, in order.
        at: The time that was sent, if any.
        now: The database's time.
        settled: Up to where all is done.
    """
    fresh = [at] if at is not None and now - at <= GRACE else []
    is_open = at is not None and not fresh and at not in missed and (settled is None or at > settled)
    stale = sorted([*missed, at]) if is_open and at is not None else list(missed)
    match policy:
        case CatchUp.NONE:
            return fresh
        case CatchUp.LAST:
            return fresh or stale[-1:]
        case CatchUp.ALL:
            return [*stale, *fresh]


def _missed(tx: Tx, scheduled: Scheduled) -> list[datetime]:
    """Return the times that should have come since the last one, and have not."""
    trigger = scheduled.trigger
    try:
        schedule = schedules.parse(trigger.schedule, trigger.timezone)
    except BadSchedule:
        # `events.schedules` says so on the trigger.
        return []
    assert scheduled.active_since is not None
    since = max(scheduled.ticked_at or trigger.created_at, scheduled.active_since)
    return schedules.between(schedule, since, tx.now - GRACE, most=MOST)


def _owes(tx: Tx, scheduled: Scheduled) -> bool:
    return bool(_missed(tx, scheduled))


def _event(trigger: Trigger, at: datetime, now: datetime) -> NewEvent:
    moment = at.isoformat().replace("+00:00", "Z")
    late = {"made_up": "true"} if now - at > GRACE else {}
    return NewEvent(
        project_id=trigger.project_id,
        trigger_id=trigger.id,
        source_key=f"tick:{trigger.id}:{moment}",
        event_type=TICK,
        data={},
        memo={"scheduled_at": moment, **late},
    )
