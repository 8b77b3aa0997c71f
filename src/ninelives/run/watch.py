"""What the sessions of a zygote use, and which of them use too much; standard library only.

The kernel's own limits are for one process (`limits.restrict`). What a session may use as a whole, with all
that it started, is looked at here, from outside, once a second: code that is stuck in C cannot evade it.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ninelives.run import limits
from ninelives.run.limits import Limits

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Excess(NamedTuple):
    """A limit that was reached.

    Attributes:
        used: In the limit's own unit.
    """

    name: str
    limit: int
    used: float


class _Process(NamedTuple):
    """One line of /proc.

    Attributes:
        cpu: Its own time and that of its children that have ended. seconds
        resident: Memory, shared pages included. bytes
    """

    parent: int
    cpu: float
    resident: int


class Usage(NamedTuple):
    """What a session uses.

    Attributes:
        cpu: Since its process was started. seconds
        resident: An upper bound of its memory. bytes
    """

    pids: tuple[int, ...]
    cpu: float
    resident: int


def usages(tops: Iterable[int]) -> dict[int, Usage]:
    """Return what each of these processes uses, with all below it."""
    table = _table()
    children: dict[int, list[int]] = {}
    for pid, process in table.items():
        children.setdefault(process.parent, []).append(pid)
    return {top: _usage(top, table, children) for top in tops if top in table}


def excess(used: Usage, allowed: Limits, *, seconds: float, wall_left: float | None) -> Excess | None:
    """Return the limit that a session has reached, if it has.

    Args:
        used: Of all of its processes.
        allowed: Its limits.
        seconds: How long its process has been running.
        wall_left: How long it might run when it was started; `None` does not limit it.
    """
    if wall_left is not None and seconds >= wall_left:
        return Excess(limits.WALL, allowed.get(limits.WALL, 0), seconds)
    cpu = allowed.get(limits.CPU)
    if cpu and used.cpu >= cpu:
        return Excess(limits.CPU, cpu, used.cpu)
    processes = allowed.get(limits.PROCESSES)
    if (
        processes and len(used.pids) > processes + 2
    ):  # the kernel's count is exact; this is where it does not count
        return Excess(limits.PROCESSES, processes, len(used.pids))
    memory = allowed.get(limits.MEMORY)
    bound = (memory or 0) * limits.MB + limits.RESERVE
    if memory and used.resident > bound and (held := _held(used.pids)) > bound:
        return Excess(limits.MEMORY, memory, held / limits.MB)
    return None


def session_process(top: int, *, is_first: bool) -> int | None:
    """Return the process that runs project code; below the first one of its namespace where there is one."""
    if not is_first:
        return top
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(_read(f"/proc/{top}/task/{top}/children").split()[0])
    return None


def _usage(top: int, table: Mapping[int, _Process], children: Mapping[int, list[int]]) -> Usage:
    below, pids = [top], []
    while below:
        pid = below.pop()
        pids.append(pid)
        below += children.get(pid, ())
    found = [table[pid] for pid in pids]
    return Usage(tuple(pids), sum(p.cpu for p in found), sum(p.resident for p in found))


def _table() -> dict[int, _Process]:
    """Read all processes that can be seen from here (proc_pid_stat(5))."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  # each second, for all processes
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = _read(f"/proc/{name}/stat").rpartition(")")[2].split()
                ticks = sum(int(fields[at]) for at in (11, 12, 13, 14))
                found[int(name)] = _Process(int(fields[1]), ticks / _TICK, int(fields[21]) * _PAGE)
    return found


def _held(pids: Iterable[int]) -> int:
    """Return the memory that these processes have beyond what they share with this one, in bytes."""
    own = _anonymous(os.getpid())
    return sum(max(0, _anonymous(pid) - own) for pid in pids)


def _anonymous(pid: int) -> int:
    """Return a process's memory that is no file's: its own, and shared between processes; in bytes."""
    total = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _read(f"/proc/{pid}/status").splitlines():
            if line.startswith(("RssAnon:", "RssShmem:")):
                total += int(line.split()[1]) * 1024
    return total


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123  # often, and in the zygote
        return file.read()
