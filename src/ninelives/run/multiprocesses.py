"""What `multiprocessing` tells user code: whether a process lives, what came out of a queue, and when.

What a process does is not recorded, so each run of the code has it done again, sooner or later than before.
What the code itself asks, in its own lines, is recorded: a replay gets the same answers, and has come as far
by then. An item of a queue that several processes fill is recorded with its value: their order is nobody's.
"""

import multiprocessing.process
import os
import pickle
import secrets
import sys
import time
from collections.abc import Callable
from queue import Empty
from typing import Any, Final

from ninelives.run.clocks import Clocks
from ninelives.run.core import Core
from ninelives.run.processes import Processes, replace
from ninelives.run.scope import current

_now = time.monotonic
#: Of a socket in the file system, with the 0 behind it 108. bytes
_LONGEST_ADDRESS: Final = 107
_Process = multiprocessing.process.BaseProcess
_exitcode: Final[Any] = _Process.__dict__["exitcode"]
_is_alive = _Process.is_alive


class Multiprocesses:
    """Records what user code is told of processes that it has started."""

    def __init__(self, core: Core, processes: Processes, clocks: Clocks) -> None:
        self._core = core
        self._processes = processes
        self._clocks = clocks
        self._is_installed = False

    def install(self) -> None:
        """Have a look at each process that user code starts, and record what it is told of it."""
        start = _Process.start

        def start_noted(process: Any) -> None:
            """Start a process."""
            scope = current.get()
            if scope is not None and scope.records:
                self._core.has_processes = True
                self._core.is_at_work = is_at_work
                self._install_rest()
            start(process)

        replace(_Process, "start", start_noted)

    def _asks(self) -> bool:
        """Tell whether a line of user code itself asks, whose call is two frames up."""
        scope = current.get()
        if not self._core.has_processes or scope is None or not scope.records:
            return False
        return self._core.classifier.is_user_file(sys._getframe(2).f_code.co_filename)

    def _install_rest(self) -> None:
        if self._is_installed:
            return
        self._is_installed = True
        self._install_process()
        self._install_join()
        self._install_queues()
        self._install_synchronize()
        self._install_addresses()

    # --- processes ----------------------------------------------------------------------------------------

    def _install_process(self) -> None:
        label = "multiprocessing.Process"

        def is_alive(process: Any) -> bool:
            """Tell whether a process lives, as recorded; one that has ended has done so by then."""
            if not self._asks():
                return _is_alive(process)
            answer: bool = self._clocks.read(lambda: _is_alive(process), f"{label}.is_alive")
            if not answer:
                self._processes.come_to(lambda: not _is_alive(process))
            return answer

        def exitcode(process: Any) -> int | None:
            """Return how a process has ended, as recorded."""
            if not self._asks():
                found: int | None = _exitcode.__get__(process)
                return found
            answer: int | None = self._clocks.read(lambda: _exitcode.__get__(process), f"{label}.exitcode")
            if answer is not None:
                self._processes.come_to(lambda: not _is_alive(process))
            return answer

        replace(_Process, "is_alive", is_alive)
        _Process.exitcode = property(exitcode, doc=_exitcode.__doc__)  # type: ignore[assignment]

    def _install_join(self) -> None:
        join = _Process.join

        def join_told(process: Any, timeout: float | None = None) -> None:
            """Wait for the end of a process, and record whether it came in time."""
            if not self._asks() or process._parent_pid != os.getpid():
                join(process, timeout)
            elif timeout is None:
                self._processes.come_to(lambda: not _is_alive(process))
                join(process)
            elif self._processes.told(
                lambda: not _is_alive(process), timeout, "multiprocessing.Process.join"
            ):
                join(process)

        replace(_Process, "join", join_told)

    # --- queues and pipes ---------------------------------------------------------------------------------

    def _install_queues(self) -> None:
        from multiprocessing import connection, queues

        get, get_simple = queues.Queue.get, queues.SimpleQueue.get

        def get_told(items: Any, block: bool = True, timeout: float | None = None) -> Any:
            """Take an item out of a queue; which one it was is recorded."""
            if not self._asks():
                return get(items, block, timeout)
            limit = None if block and timeout is None else max(0.0, timeout or 0.0) if block else 0.0
            return self._item(items, lambda: get(items), limit, "multiprocessing.Queue.get")

        def get_nowait(items: Any) -> Any:
            """Take an item out of a queue, if there is one."""
            if not self._asks():
                return get(items, False)
            return self._item(items, lambda: get(items), 0.0, "multiprocessing.Queue.get")

        def get_simple_told(items: Any) -> Any:
            """Take an item out of a queue; which one it was is recorded."""
            if not self._asks():
                return get_simple(items)
            return self._item(items, lambda: get_simple(items), None, "multiprocessing.SimpleQueue.get")

        replace(queues.Queue, "get", get_told)
        replace(queues.Queue, "get_nowait", get_nowait)
        replace(queues.SimpleQueue, "get", get_simple_told)
        for owner, names in ((queues.Queue, ("empty", "full", "qsize")), (queues.SimpleQueue, ("empty",))):
            for name in names:
                self._install_reading(owner, name, f"multiprocessing.{owner.__name__}.{name}")
        self._install_poll(connection._ConnectionBase)

    def _item(self, items: Any, take: Callable[[], Any], limit: float | None, label: str) -> Any:
        """Return the next item; on a replay the recorded one, and one is taken all the same."""
        owed: list[bytes] = items.__dict__.setdefault("_ninelives_owed", [])
        kept: list[bytes] = items.__dict__.setdefault("_ninelives_kept", [])

        def is_here() -> bool:
            return bool(items._poll())

        def ask() -> bytes | None:
            end = None if limit is None else _now() + limit
            while True:
                if kept:
                    return kept.pop(0)
                self._processes.wait_polled(is_here, end)
                if not is_here():
                    return None
                found = _packed(take())
                if found not in owed:
                    return found
                owed.remove(found)  # a replay has handed it out

        was_asked: list[bool] = []

        def ask_now() -> bytes | None:
            was_asked.append(True)
            return ask()

        found: bytes | None = self._clocks.read_in_turn(ask_now, label)
        if found is None:
            raise Empty
        if not was_asked:
            self._take_again(found, take, is_here, owed, kept)
        return pickle.loads(found)

    def _take_again(
        self,
        found: bytes,
        take: Callable[[], Any],
        is_here: Callable[[], bool],
        owed: list[bytes],
        kept: list[bytes],
    ) -> None:
        """Take an item out for each that was recorded: who puts them in may wait for room."""
        self._processes.wait_polled(lambda: is_here() or not is_at_work())
        taken = _packed(take()) if is_here() else None
        if taken == found:
            return
        if found in kept:
            kept.remove(found)
        else:
            owed.append(found)
        if taken in owed:
            owed.remove(taken)
        elif taken is not None:
            kept.append(taken)

    def _install_poll(self, owner: Any) -> None:
        poll = owner.poll

        def poll_told(end: Any, timeout: float | None = 0.0) -> bool:
            """Tell whether there is something to read, as recorded; by then there is."""
            if not self._asks():
                found: bool = poll(end, timeout)
                return found
            return self._processes.told(
                lambda: _is_readable(poll, end), timeout, "multiprocessing.Connection.poll"
            )

        replace(owner, "poll", poll_told)

    def _install_reading(self, owner: Any, name: str, label: str) -> None:
        method = getattr(owner, name)

        def read(items: Any) -> Any:
            """Ask, and record what the answer was."""
            return self._clocks.read(lambda: method(items), label) if self._asks() else method(items)

        replace(owner, name, read)

    def _install_addresses(self) -> None:
        """Give a manager's socket a name without a directory where the session's is too deep for one."""
        from multiprocessing import connection

        address_of: Callable[[str], Any] = connection.arbitrary_address  # type: ignore[attr-defined]

        def arbitrary_address(family: str) -> Any:
            """Return where to listen; only who knows the key is listened to."""
            found = address_of(family)
            is_too_long = family == "AF_UNIX" and len(os.fsencode(found)) > _LONGEST_ADDRESS
            return f"\0listener-{os.getpid()}-{secrets.token_hex(8)}" if is_too_long else found

        replace(connection, "arbitrary_address", arbitrary_address)

    # --- what processes wait for --------------------------------------------------------------------------

    def _install_synchronize(self) -> None:
        from multiprocessing import synchronize

        wait, is_set = synchronize.Event.wait, synchronize.Event.is_set

        def wait_told(event: Any, timeout: float | None = None) -> bool:
            """Wait for an event, and record whether it was set in time."""
            if not self._asks():
                return bool(wait(event, timeout))
            if timeout is None:
                self._processes.come_to(lambda: is_set(event))
                return True
            return self._processes.told(lambda: is_set(event), timeout, "multiprocessing.Event.wait")

        replace(synchronize.Event, "wait", wait_told)
        self._install_reading(synchronize.Event, "is_set", "multiprocessing.Event.is_set")


def is_at_work() -> bool:
    """Tell whether a process that user code has started lives; to be asked in any thread."""
    return any(_is_alive(child) for child in list(multiprocessing.process._children))  # type: ignore[attr-defined]


def _packed(item: Any) -> bytes:
    return pickle.dumps(item, 5)


def _is_readable(poll: Callable[..., bool], end: Any) -> bool:
    try:
        return poll(end, 0)
    except OSError:  # the other side is closed: to read says so
        return True
