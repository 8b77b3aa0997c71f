"""Events of which nothing is wanted, found while they are recorded: they need no dispatch.

Most events are such: a trigger's filter keeps them out. What became of them is stored with them, in the same
row and unit, and costs no second one. All others are left to `events.dispatch`, which alone starts sessions
and says what is wrong with a trigger: here nothing but a filter's plain no counts.
"""

from collections.abc import Mapping, Sequence
from functools import cache, partial

from ninelives_server.errors import Invalid
from ninelives_server.events.filters import Filters
from ninelives_server.model.events import NewEvent
from ninelives_server.model.triggers import Trigger
from ninelives_server.store import triggers
from ninelives_server.store.core import Tx
from ninelives_server.store.triggers import Candidate

ANY_TYPE = frozenset({"", "*"})
#: Memo of events that name what to start themselves: manual starts and redispatched events.
ENTRYPOINT = "entrypoint"
DEPLOYMENT = "deployment_id"


def wants(trigger: Candidate | Trigger, event_type: str) -> bool:
    """Say whether a trigger is for events of this type, whatever its filter says; nothing to call is none."""
    return bool(trigger.call) and (trigger.event_type in ANY_TYPE or trigger.event_type == event_type)


class Settling:
    """Says of events whether anything is wanted of them."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters

    def outcomes(self, tx: Tx, new: Sequence[NewEvent]) -> list[Sequence[Mapping[str, str]] | None]:
        """Return for each event what became of it where that is nothing; `None` where dispatch decides."""
        candidates = cache(partial(triggers.candidates, tx))
        return [
            None
            if event.memo.get(ENTRYPOINT) or event.memo.get(DEPLOYMENT)
            else self._kept_out(candidates(event.project_id, event.trigger_id, event.connection_id), event)
            for event in new
        ]

    def _kept_out(
        self, candidates: Sequence[Candidate], event: NewEvent
    ) -> Sequence[Mapping[str, str]] | None:
        """Return the outcomes of an event that all filters keep out; without triggers dispatch says why."""
        if not candidates:
            return None
        concerned = [trigger for trigger in candidates if wants(trigger, event.event_type)]
        try:
            if any(self._filters.matches(t.filter, event.data, event.event_type) for t in concerned):
                return None
        except Invalid:
            return None
        return [{"trigger_id": t.id, "trigger": t.name, "outcome": "filtered"} for t in concerned]
