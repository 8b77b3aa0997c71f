"""Readings of clocks: recorded when they are taken, so that a replay reads the same time."""

import pickle
import time
from collections.abc import Callable
from typing import Any

from ninelives.host import Function
from ninelives.run.core import Core
from ninelives.run.scope import Strand, current
from ninelives.run.turns import Entry

_wall = time.time

#: With so many arguments these compute, and read no clock.
_COMPUTE_WITH = {
    "time.localtime": 1,
    "time.gmtime": 1,
    "time.ctime": 1,
    "time.asctime": 1,
    "time.strftime": 2,
}


class Clocks:
    """Reads clocks for user code."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def read(self, fn: Function, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Read a clock; the record is on its way before the next step starts."""
        scope = current.get()
        if scope is None or not scope.decides or len(args) >= _COMPUTE_WITH.get(name, 99):
            return fn(*args, **kwargs)
        core, strand = self._core, scope.strand
        n = strand.take_value()
        digest = core.digests.of_call(name, args, kwargs)
        record = strand.values.pop(n, None)
        if record is not None:
            core.compare(record, strand, n, "value", name, digest)
            return pickle.loads(record.body)
        value = fn(*args, **kwargs)
        core.send(self._head(strand, n, name, digest, value), pickle.dumps(value, 5))
        return value

    def read_in_turn(self, ask: Callable[[], Any], name: str) -> Any:
        """Wait for what is no clock of ours; other strands go on, and a replay has it at the same `seq`."""
        scope = current.get()
        if scope is None or not scope.decides:
            return ask()
        core, strand = self._core, scope.strand
        n = strand.take_value()
        digest = core.digests.of_call(name, (), {})
        record, is_alone, lane = strand.values.pop(n, None), core.turns.is_alone, core.own_lane()
        if record is not None:
            core.compare(record, strand, n, "value", name, digest)
            if not is_alone:
                core.turns.wait_for(lane, Entry(lane), record.seq)
            return pickle.loads(record.body)
        value = ask()
        head, body = self._head(strand, n, name, digest, value), pickle.dumps(value, 5)
        if is_alone:
            core.send(head, body)
            return value
        entry = Entry(lane)
        core.send(head, body, entry, ends=False)
        core.turns.wait_for(lane, entry)
        return value

    def _head(self, strand: Strand, n: int, name: str, digest: bytes, value: Any) -> dict[str, Any]:
        core = self._core
        head = core.head("value", strand.name, n, "value", name, "ok", _wall())
        head["digest"] = digest.hex()
        head["preview"] = {"result": core.previews.of_value(value)}
        return head
