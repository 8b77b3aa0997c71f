"""What a session may use: the names of its limits, and what people read when one was reached.

A limit of 0 is none. The worker's zygote sets them (`zygote`, `watch`), the session's process explains the
errors that Python makes of them; what they are is the server's to say (`limits` of the `start` frame).
Ceilings are the limits of a server that lets no project raise them.
"""

import contextlib
import errno
import os
import resource
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

Limits: TypeAlias = Mapping[str, int]

MEMORY: Final = "memory_mb"
CPU: Final = "cpu_seconds"
WALL: Final = "wall_seconds"
FILES: Final = "open_files"
PROCESSES: Final = "processes"
OUTPUT: Final = "output_mb"

MB: Final = 1024 * 1024
#: What a process gets on top once it has run out of memory, so that it can say so. bytes
RESERVE: Final = 64 * MB
#: Has a session's process write where each of its threads stands, just before it is killed for a limit.
DUMP_SIGNAL: Final = signal.SIGRTMIN + 5

_WHAT: Final = {
    MEMORY: "its memory limit of {} MB",
    CPU: "its limit of {} s of CPU time",
    WALL: "its limit of {} s from start to end",
    FILES: "its limit of {} open files",
    PROCESSES: "its limit of {} processes and threads",
    OUTPUT: "its limit of {} MB of output",
}
#: Errors that are looked through for their causes.
_DEPTH = 10


def words(name: str, limit: int, ceilings: Limits) -> str:
    """Return which limit was reached, and who can raise it where."""
    what = _WHAT.get(name, "its limit " + name + " of {}").format(limit)
    return f"the session has reached {what}; {_raised([name], {name: limit}, ceilings)}"


def _raised(names: Sequence[str], limits: Limits, ceilings: Limits) -> str:
    """Say how to raise limits: as far as the server lets it, in the manifest."""
    free = [name for name in names if not ceilings.get(name)]
    ways = [_in_manifest(name, limits[name], ceilings[name]) for name in names if name not in free]
    return "; ".join([*([_anywhere(free)] if free else []), *ways])


def _in_manifest(name: str, limit: int, ceiling: int) -> str:
    setting = f"NINELIVES_LIMITS__{name.upper()}"
    if limit < ceiling:
        return (
            f"raise it in the manifest (project: limits: {name}) to at most {ceiling}, which is all that "
            f"this server allows; for more ask whoever runs it to raise {setting}"
        )
    return (
        "no manifest may raise it on this server (NINELIVES_LIMITS__LOCKED); "
        f"ask whoever runs it to raise {setting}"
    )


def _anywhere(names: Sequence[str]) -> str:
    it = "it" if len(names) == 1 else "them"
    settings = ", ".join(f"NINELIVES_LIMITS__{name.upper()}" for name in names)
    manifest = f"project: limits: {', '.join(names)}"
    return f"raise {it} in the manifest ({manifest}) or for the whole server ({settings})"


def restrict(limits: Limits) -> None:
    """Limit this process, before anything of a project's runs in it.

    Memory is what the process may ask for beyond what it has from the zygote: private and writable, so that
    code and address space that is only reserved do not count (setrlimit(2), RLIMIT_DATA).
    """
    _give_way()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if files := limits.get(FILES):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        files = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if memory := limits.get(MEMORY):
        bound = _in_use() + memory * MB
        resource.setrlimit(resource.RLIMIT_DATA, (bound, bound + RESERVE))


def _give_way() -> None:
    """Let whoever wakes this process finish first; it gets no less of the processor for it (sched(7)).

    A server that answers many sessions would otherwise be interrupted by each of them, one after the other.
    """
    if os.sched_getscheduler(0) == os.SCHED_OTHER:  # else somebody has chosen another one
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def restrict_processes(limits: Limits) -> None:
    """Limit the processes and threads of this user in this user namespace, this one not counted."""
    if count := limits.get(PROCESSES):
        resource.setrlimit(resource.RLIMIT_NPROC, (count + 1, count + 1))


def ease() -> None:
    """Give this process its reserve of memory, to report that it ran out of it."""
    with contextlib.suppress(ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def explain(error: BaseException, limits: Limits, ceilings: Limits) -> None:
    """Add to an error that a limit has caused which one that was, or which ones it may have been."""
    for found in _chain(error):
        if (name := _cause(found, limits)) is not None:
            error.add_note(words(name, limits[name], ceilings))
            return
        if _is_thread(found) and (names := [name for name in (PROCESSES, MEMORY) if limits.get(name)]):
            # Those that were there have ended meanwhile, as they do at the end of a `with` over a pool.
            reached = " or ".join(_WHAT[name].format(limits[name]) for name in names)
            stacks = f" (a thread's stack takes {_stack() // MB} MB)" if MEMORY in names else ""
            error.add_note(f"the session had reached {reached}{stacks}; {_raised(names, limits, ceilings)}")
            return


def _cause(error: BaseException, limits: Limits) -> str | None:
    """Return the limit that an error comes from; `None` where it is none of them."""
    if isinstance(error, MemoryError):
        return MEMORY if limits.get(MEMORY) else None
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return FILES if limits.get(FILES) else None
    is_fork = isinstance(error, BlockingIOError) and error.errno == errno.EAGAIN
    if not is_fork and not _is_thread(error):
        return None
    if limits.get(PROCESSES) and _tasks() >= 0.9 * limits[PROCESSES]:
        return PROCESSES
    return MEMORY if _is_thread(error) and limits.get(MEMORY) and not _has_room() else None


def _is_thread(error: BaseException) -> bool:
    return type(error) is RuntimeError and "start new thread" in str(error)


def _stack() -> int:
    """Return how much memory a new thread's stack takes, used or not, in bytes."""
    size = resource.getrlimit(resource.RLIMIT_STACK)[0]
    return 8 * MB if size == resource.RLIM_INFINITY else size


def _has_room() -> bool:
    """Tell whether the memory limit leaves room for another thread; the reserve does not count."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    return hard == resource.RLIM_INFINITY or _in_use() + _stack() <= hard - RESERVE


def _chain(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    for _ in range(_DEPTH):
        if found is None:
            return
        yield found
        found = found.__cause__ or found.__context__


def _in_use() -> int:
    """Return how much private memory this process may write to already, in bytes."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[5]) * resource.getpagesize()
    return 0


def _tasks() -> int:
    """Return how many processes and threads there are where this process can look."""
    count = 0
    for place in Path("/proc").glob("[0-9]*/task"):
        with contextlib.suppress(OSError):
            count += len(list(place.iterdir()))
    return count
