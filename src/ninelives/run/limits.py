"""What a session may use: the names of its limits, and what people read when one was reached.

A limit of 0 is none. The worker's zygote sets them (`zygote`, `watch`), the session's process explains the
errors that Python makes of them; what they are is the server's to say (`limits` of the `start` frame).
"""

import contextlib
import errno
import resource
import signal
from collections.abc import Iterator, Mapping
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


def words(name: str, limit: int) -> str:
    """Return which limit was reached, and the two ways to raise it."""
    what = _WHAT.get(name, "its limit " + name + " of {}").format(limit)
    return (
        f"the session has reached {what}; raise it in ninelives.yaml (project: limits: {name}) or for the "
        f"whole server (NINELIVES_LIMITS__{name.upper()})"
    )


def restrict(limits: Limits) -> None:
    """Limit this process, before anything of a project's runs in it.

    Memory is what the process may ask for beyond what it has from the zygote: private and writable, so that
    code and address space that is only reserved do not count (setrlimit(2), RLIMIT_DATA).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if files := limits.get(FILES):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        files = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if memory := limits.get(MEMORY):
        bound = _in_use() + memory * MB
        resource.setrlimit(resource.RLIMIT_DATA, (bound, bound + RESERVE))


def restrict_processes(limits: Limits) -> None:
    """Limit the processes and threads of this user in this user namespace, this one not counted."""
    if count := limits.get(PROCESSES):
        resource.setrlimit(resource.RLIMIT_NPROC, (count + 1, count + 1))


def ease() -> None:
    """Give this process its reserve of memory, to report that it ran out of it."""
    with contextlib.suppress(ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def explain(error: BaseException, limits: Limits) -> None:
    """Add to an error that a limit has caused which one that was."""
    name = next((name for found in _chain(error) if (name := _cause(found, limits))), None)
    if name is not None:
        error.add_note(words(name, limits[name]))


def _cause(error: BaseException, limits: Limits) -> str | None:
    """Return the limit that an error comes from; `None` where it is none of them."""
    if isinstance(error, MemoryError):
        return MEMORY if limits.get(MEMORY) else None
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return FILES if limits.get(FILES) else None
    is_fork = isinstance(error, BlockingIOError) and error.errno == errno.EAGAIN
    is_thread = type(error) is RuntimeError and "start new thread" in str(error)
    if (is_fork or is_thread) and limits.get(PROCESSES):
        return PROCESSES if _tasks() >= 0.9 * limits[PROCESSES] else None
    return None


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
