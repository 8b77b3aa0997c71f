"""Sessions that sessions start: events like all others, recorded in the unit of the call that starts them.

So the event, the session and the parent's record are there together or not at all. What the child runs was
decided by its parent's call: no trigger is looked at, and no limit of the project holds it back, because a
parent that waits for it would wait for ever.
"""

from dataclasses import replace
from typing import Protocol

from ninelives_server.events.dispatch import IS_DURABLE
from ninelives_server.events.ingest import Ingest
from ninelives_server.events.settling import ENTRYPOINT
from ninelives_server.model.events import NewEvent
from ninelives_server.model.sessions import NewSession, Session
from ninelives_server.store import events
from ninelives_server.store.core import Tx

#: Event type of child sessions, as lists of events show it.
CHILD = "child"
#: Memo of their events: who started them.
PARENT = "parent_id"


class MakesSessions(Protocol):
    """Makes session rows (`sessions.start`)."""

    def create(self, tx: Tx, new: NewSession) -> Session | None:
        """Make a session and have it started."""
        ...


class Children:
    """Takes child sessions through the one door (`events.ingest`)."""

    def __init__(self, *, ingest: Ingest, sessions: MakesSessions) -> None:
        self._ingest = ingest
        self._sessions = sessions

    def start(self, tx: Tx, new: NewSession) -> None:
        """Record that a session starts another one, and make that; nothing where it is there already.

        Raises:
            Invalid: The data is no JSON.
        """
        recorded = self._ingest.record_in(tx, [_event(new)])
        for event_id, is_new, _ in recorded:
            if is_new:
                self._sessions.create(tx, replace(new, event_id=event_id))
                events.set_dispatched(tx, {event_id: [{"outcome": "session", "session_id": new.id}]})


def _event(new: NewSession) -> NewEvent:
    return NewEvent(
        project_id=new.project_id,
        # A child's id comes from its parent's step: the same step is the same event.
        source_key=f"child:{new.id}",
        event_type=CHILD,
        data=new.data,
        memo={
            ENTRYPOINT: new.entrypoint,
            IS_DURABLE: "true" if new.is_durable else "false",
            PARENT: new.parent_id or "",
        },
        traceparent=new.traceparent,
        created_by=new.created_by,
    )
