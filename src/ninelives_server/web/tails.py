"""The newest of a long list that can only be read forwards, without reading all of it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from ninelives_server.model.sessions import Print, Step

#: Items read at once; a list that is no longer is read as it is.
CHUNK = 1000

Item = TypeVar("Item", Step, Print)
#: Returns the items behind a `seq`, at most so many.
Fetch = Callable[[int, int], Awaitable[Sequence[Item]]]


class Tail(Generic[Item]):
    """Reads the newest items, again and again; each time from where it was the last time.

    The end of a long one is found by probing: places of a journal are numbered without gaps, so a handful of
    reads of one item finds it among a hundred thousand.

    Attributes:
        after: `seq` behind which the kept ones begin; 0 where nothing was left out.
    """

    def __init__(self, fetch: Fetch[Item], size: int) -> None:
        self._fetch: Fetch[Item] = fetch
        self._size = size
        self.after = 0

    async def read(self) -> Sequence[Item]:
        """Return the newest ones, at most `size`, in order."""
        found = await self._fetch(self.after, CHUNK)
        if len(found) == CHUNK:
            found = await self._newest(await self._last(found[-1].seq))
        if len(found) > self._size:
            self.after = found[-self._size - 1].seq
            found = found[-self._size :]
        return found

    async def _last(self, known: int) -> int:
        """Return the last `seq`; there is an item at `known`."""
        step = CHUNK
        while beyond := await self._fetch(known + step, 1):
            known = beyond[0].seq
            step *= 2
        end = known + step  # nothing is behind it
        while end - known > 1:
            middle = (known + end) // 2
            beyond = await self._fetch(middle, 1)
            known, end = (beyond[0].seq, end) if beyond else (known, middle)
        return end if await self._fetch(known, 1) else known

    async def _newest(self, last: int) -> Sequence[Item]:
        """Return at least `size` items up to the last one, or all that there are."""
        window = self._size + 1
        while True:
            after = max(last - window, 0)
            found = await self._fetch(after, window + CHUNK)
            if len(found) > self._size or after == 0:
                return found
            window *= 2
