"""Events of which nothing is wanted, found while they are recorded: they need no dispatch.

Most events are such: a trigger's filter keeps them out. What became of them is stored with them, in the same
row and unit, and costs no second one. All others are left to `events.dispatch`, which alone starts sessions
and says what is wrong with a trigger: here nothing but a filter's plain no counts.
"""

from collections.abc import Callable, Mapping, Sequence
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
        questions = cache(partial(_question, cache(partial(triggers.candidates, tx))))
        return [
            None
            if event.memo.get(ENTRYPOINT) or event.memo.get(DEPLOYMENT)
            else self._kept_out(
                questions(event.project_id, event.trigger_id, event.connection_id, event.event_type), event
            )
            for event in new
        ]

    def _kept_out(
        self, question: Sequence[Candidate] | None, event: NewEvent
    ) -> Sequence[Mapping[str, str]] | None:
        """Return the outcomes of an event that the filters of all these triggers keep out."""
        if question is None:
            return None
        try:
            if any(self._filters.matches(t.filter, event.data, event.event_type) for t in question):
                return None
        except Invalid:
            return None
        return [{"trigger_id": t.id, "trigger": t.name, "outcome": "filtered"} for t in question]


def _question(
    candidates: Callable[[str, str | None, str | None], Sequence[Candidate]],
    project_id: str,
    trigger_id: str | None,
    connection_id: str | None,
    event_type: str,
) -> Sequence[Candidate] | None:
    """Return the triggers whose filters say whether anything is wanted of events of one source and type.

    `None` where no filter can say so: a trigger has none, or there is no trigger or no deployment, which
    dispatch explains.
    """
    known = candidates(project_id, trigger_id, connection_id)
    concerned = [trigger for trigger in known if wants(trigger, event_type)]
    is_open = not known or any(not trigger.filter.strip() for trigger in concerned)
    return None if is_open else concerned
