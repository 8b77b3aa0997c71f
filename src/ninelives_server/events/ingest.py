"""The only door in: whatever happens becomes an event here, once.

One unit holds the event rows (unique by project and source key), the cursor of the stream that delivered
them, and what subscribed sessions find in their inboxes. What the event starts is decided after the commit,
in `events.dispatch`; that it starts nothing may be known here already (`events.settling`).
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from ninelives_server import ids
from ninelives_server.errors import Invalid
from ninelives_server.events.filters import Filters
from ninelives_server.events.settling import ANY_TYPE, Settling
from ninelives_server.ids import EventId
from ninelives_server.model.events import NewEvent
from ninelives_server.store import events, inbox, streams
from ninelives_server.store.core import Store, Tx
from ninelives_server.store.events import SealedEvent, Subscription
from ninelives_server.store.streams import CursorSave
from ninelives_server.vault.vault import Vault

#: What became of an event that a session had subscribed to.
SIGNALLED = "signalled"


# Made once: `json.dumps` with options makes one each time.
_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Dispatches(Protocol):
    """Is told which events wait for dispatch."""

    def soon(self, event_ids: Sequence[EventId]) -> None:
        """Dispatch these events when their commit is done; without waiting."""
        ...


class Recorded(NamedTuple):
    """An event that is on record.

    Attributes:
        is_new: Not so where its source key was there already; the id is that of the event that is there.
        waits: For dispatch.
    """

    event_id: EventId
    is_new: bool
    waits: bool


def data_context(event_id: str) -> str:
    """Return what binds an event's sealed data to its row."""
    return f"events:{event_id}:sealed_data"


def encode(data: object) -> bytes:
    """Return the stored form of an event's data.

    Raises:
        Invalid: It has a value that JSON cannot hold.
    """
    try:
        return _JSON.encode(data).encode()
    except (TypeError, ValueError) as error:
        raise Invalid(f"the event's data is no JSON: {error}") from None


class Ingest:
    """Records events."""

    def __init__(self, *, store: Store, vault: Vault, filters: Filters, dispatcher: Dispatches) -> None:
        self._store = store
        self._vault = vault
        self._filters = filters
        self._dispatcher = dispatcher
        self._settling = Settling(filters)

    async def record(
        self, new: Sequence[NewEvent], cursor: CursorSave | None = None
    ) -> list[tuple[EventId, bool]]:
        """Store events and, with them, how far their stream has come; then have them dispatched.

        Returns:
            For each event its id and whether it is new; a source key that the project has already gives
            the id of the event that is there. Events of projects that are gone are left out.

        Raises:
            LeaseLost: The cursor's fence is not the newest; nothing was stored.
        """
        encoded = [encode(event.data) for event in new]
        recorded = await self._store.write(lambda tx: self.record_in(tx, new, cursor, encoded=encoded))
        self.announce(recorded)
        return [(event_id, is_new) for event_id, is_new, _ in recorded]

    def announce(self, recorded: Sequence[Recorded]) -> None:
        """Have those of recorded events dispatched that wait for it; to be called after the commit."""
        if waiting := [event_id for event_id, _, waits in recorded if waits]:
            self._dispatcher.soon(waiting)

    def record_in(
        self,
        tx: Tx,
        new: Sequence[NewEvent],
        cursor: CursorSave | None = None,
        *,
        encoded: Sequence[bytes] | None = None,
        orgs: Mapping[str, str] | None = None,
    ) -> list[Recorded]:
        """Do what `record` does inside a unit of the caller's, who calls `announce` after it.

        `encoded` and `orgs` are the data's stored form and the projects' orgs, where the caller has them.
        """
        if cursor is not None:
            # First: it locks the stream's row, so that a reader that lost its lease stops here.
            streams.save_cursor(tx, cursor)
        if not new:
            return []
        orgs = orgs or events.orgs_of(tx, {event.project_id for event in new})
        bodies = encoded or [encode(event.data) for event in new]
        # Ids ascend, so that events keep the order in which they came.
        sealed = [
            SealedEvent(
                id=EventId(event_id),
                new=event,
                sealed_data=self._vault.seal(tx, event.project_id, data_context(event_id), body),
                outcomes=outcomes,
            )
            for event_id, event, body, outcomes in zip(
                ids.several("evt", len(new)), new, bodies, self._settling.outcomes(tx, new), strict=True
            )
            if event.project_id in orgs
        ]
        added = events.insert(tx, sealed, orgs)
        self._deliver(tx, [event for event in sealed if event.id in added])
        return _recorded(tx, sealed, added)

    def _deliver(self, tx: Tx, added: Sequence[SealedEvent]) -> None:
        """Put events into the inboxes of the sessions that have subscribed to them."""
        signalled: dict[str, list[Mapping[str, str]]] = {}
        for project_id in {event.new.project_id for event in added}:
            # In the order of sessions: two units that deliver to the same ones must not block each other.
            for subscription in sorted(events.subscriptions_of(tx, project_id), key=lambda s: s.session_id):
                for event in added:
                    if self._wants(subscription, event.new):
                        _put(tx, subscription, event)
                        told = {"outcome": SIGNALLED, "session_id": subscription.session_id}
                        signalled.setdefault(event.id, []).append(told)
        for event in added:
            if event.id in signalled:
                events.set_outcomes(tx, event.id, [*signalled[event.id], *(event.outcomes or ())])

    def _wants(self, subscription: Subscription, event: NewEvent) -> bool:
        if subscription.project_id != event.project_id:
            return False
        is_source = (
            subscription.trigger_id == event.trigger_id
            if event.trigger_id is not None
            else subscription.connection_id is not None and subscription.connection_id == event.connection_id
        )
        if not is_source or subscription.event_type not in {*ANY_TYPE, event.event_type}:
            return False
        try:
            return all(
                self._filters.matches(expression, event.data, event.event_type)
                for expression in (subscription.trigger_filter, subscription.filter)
            )
        except Invalid:
            # A filter that fails for an event does not match it; subscribing has checked its syntax.
            return False


def _put(tx: Tx, subscription: Subscription, event: SealedEvent) -> None:
    inbox.put(
        tx,
        inbox.new_id(),
        subscription.session_id,
        kind="event",
        name=event.new.event_type,
        topic=subscription.id,
        event_id=event.id,
    )


def _recorded(tx: Tx, sealed: Sequence[SealedEvent], added: set[EventId]) -> list[Recorded]:
    known = [(e.new.project_id, e.new.source_key) for e in sealed if e.id not in added]
    existing = events.ids_of(tx, known) if known else {}
    return [
        Recorded(event.id, is_new=True, waits=event.outcomes is None)
        if event.id in added
        else Recorded(existing[event.new.project_id, event.new.source_key], is_new=False, waits=False)
        for event in sealed
    ]
