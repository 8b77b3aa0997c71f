"""Sessions that wait for room on a worker of this server, in the order in which they came.

It lives in memory: what a server loses with it, the sweep of `engine.starter` offers again.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ninelives_server.sessions.needs import ANYTHING, Needs


class _Place(NamedTuple):
    """Where a session stands; it keeps its place while it is offered to a worker.

    Attributes:
        offers: How often it was told that the session should run.
        taken: How often it had been when the session was last offered to a worker; 0 before that.
        is_sought: Temporal was asked to find it a worker, too.
    """

    number: int
    needs: Needs
    offers: int = 1
    taken: int = 0
    is_sought: bool = False


class Crowd:
    """Those that wait.

    Attributes:
        stirred: Set where somebody waits and a worker may have room; who serves the crowd clears it.
    """

    def __init__(self) -> None:
        self.stirred = asyncio.Event()
        self._numbers = itertools.count()
        self._places: dict[str, _Place] = {}
        self._waiting: set[str] = set()
        # A heap for each kind of needs. Who has left is passed over when its turn comes.
        self._lines: dict[Needs, list[tuple[int, str]]] = {}

    def __bool__(self) -> bool:
        """Tell whether anybody waits."""
        return bool(self._waiting)

    def __contains__(self, session_id: object) -> bool:
        """Tell whether a session waits."""
        return session_id in self._waiting

    def add(self, session_id: str, needs: Needs | None = None) -> None:
        """Have a session wait, at its former place where it had one; `needs` are what is known of them."""
        place = self._places.get(session_id)
        if place is None:
            place = _Place(next(self._numbers), needs or ANYTHING)
            self._places[session_id] = place
        else:
            new = place._replace(needs=place.needs if needs is None else needs, offers=place.offers + 1)
            self._places[session_id] = new
            if session_id in self._waiting and new.needs == place.needs:
                return
            place = new
        self._waiting.add(session_id)
        heapq.heappush(self._lines.setdefault(place.needs, []), (place.number, session_id))

    def stir(self) -> None:
        """Have the crowd served: a worker may have room."""
        if self._waiting:
            self.stirred.set()

    def take(self, is_served: Callable[[Needs], bool]) -> tuple[str, Needs] | None:
        """Return the first session for whose needs there is room; it waits no more, and keeps its place."""
        heads = [(head, needs) for needs in list(self._lines) if (head := self._head(needs))]
        served = [(head, needs) for head, needs in heads if is_served(needs)]
        if not served:
            return None
        (_, session_id), needs = min(served)
        heapq.heappop(self._lines[needs])
        self._waiting.discard(session_id)
        place = self._places[session_id]
        self._places[session_id] = place._replace(taken=place.offers)
        return session_id, needs

    def _head(self, needs: Needs) -> tuple[int, str] | None:
        line = self._lines[needs]
        while line:
            number, session_id = line[0]
            place = self._places.get(session_id)
            is_there = session_id in self._waiting and place is not None
            if is_there and place is not None and (place.number, place.needs) == (number, needs):
                return line[0]
            heapq.heappop(line)
        del self._lines[needs]
        return None

    def forget(self, session_id: str) -> None:
        """Give a session's place up: it runs, or need not.

        Not where it was told since it was offered to a worker that it should run: the worker's claim may have
        found that somebody else had it, who has lost it meanwhile.
        """
        place = self._places.get(session_id)
        if place is None or place.offers == place.taken or not place.taken:
            self._drop(session_id)

    def _drop(self, session_id: str) -> None:
        self._places.pop(session_id, None)
        self._waiting.discard(session_id)

    def seek(self, session_id: str) -> None:
        """Note that Temporal is asked, too."""
        if (place := self._places.get(session_id)) is not None:
            self._places[session_id] = place._replace(is_sought=True)

    def is_sought(self, session_id: str) -> bool:
        """Tell whether Temporal was asked, too."""
        place = self._places.get(session_id)
        return place is not None and place.is_sought

    def first(self, most: int) -> Mapping[str, int]:
        """Return those that wait at the front, each with how often it was offered."""
        front = heapq.nsmallest(most, self._waiting, key=lambda session_id: self._places[session_id].number)
        return {session_id: self._places[session_id].offers for session_id in front}

    def forget_if(self, session_id: str, offers: int) -> None:
        """Forget a session that should not run, unless somebody has said meanwhile that it should."""
        place = self._places.get(session_id)
        if place is not None and place.offers == offers:
            self._drop(session_id)

    def unsought(self) -> list[str]:
        """Return those that wait for which Temporal was not asked."""
        return [session_id for session_id in self._waiting if not self._places[session_id].is_sought]

    def choosy(self) -> Mapping[str, Needs]:
        """Return those that wait and that not every worker can have."""
        return {
            session_id: needs
            for needs, line in self._lines.items()
            if needs != ANYTHING
            for _, session_id in line
            if session_id in self._waiting and self._places[session_id].needs == needs
        }
