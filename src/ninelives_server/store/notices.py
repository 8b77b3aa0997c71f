"""Who wants to hear that something changed. A lost notice costs a refresh, never a truth."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Notice(asyncio.Event):
    """Set when something of interest has changed; the waiter clears it before it reads again.

    Attributes:
        ids: Ids of the changed things since the last `take`; none where notices may have been lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()

    def take(self) -> set[str]:
        """Clear the event and return the ids that were told."""
        ids, self.ids = self.ids, set()
        self.clear()
        return ids


class Notices:
    """Subscriptions of this process. `tell` may only be called on the event loop's thread."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str | None], set[Notice]] = {}

    @contextmanager
    def subscribed(self, channel: str, thing_id: str | None = None) -> Iterator[Notice]:
        """Yield a notice that is set for each change of one thing, or of any on the channel."""
        notice = Notice()
        key = (channel, thing_id)
        self._waiting.setdefault(key, set()).add(notice)
        try:
            yield notice
        finally:
            self._waiting[key].discard(notice)
            if not self._waiting[key]:
                del self._waiting[key]

    def tell(self, channel: str, thing_id: str) -> None:
        """Wake everybody who waits for this thing or for anything on the channel."""
        for key in ((channel, thing_id), (channel, None)):
            for notice in self._waiting.get(key, ()):
                notice.ids.add(thing_id)
                notice.set()

    def missed(self) -> None:
        """Wake everybody, without saying what has changed: notices may have been lost."""
        for waiting in self._waiting.values():
            for notice in waiting:
                notice.set()
