"""A control group for each session, where this worker may make some: the kernel then counts its processes.

Only the controller `pids` is used (cgroups(7), and Linux's Documentation/admin-guide/cgroup-v2.rst). Where
there is none that we may use, sessions are counted by RLIMIT_NPROC in a user namespace of their own.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ninelives_server import log

logger = log.get(__name__)

_PROCS = "cgroup.procs"
_MAX = "pids.max"


class Groups:
    """Makes control groups below one of ours."""

    def __init__(self, top: Path) -> None:
        self._top = top

    @classmethod
    def found(cls) -> "Groups | None":
        """Make a group for this worker's sessions; `None` where the system does not let us."""
        for place in (_of_version_1(), _of_version_2()):
            if place is not None:
                top = place / f"ninelives-{os.getpid()}"
                with contextlib.suppress(OSError):
                    _tidy(place)
                    top.mkdir()
                    groups = cls(top)
                    if groups._works():
                        return groups
                    top.rmdir()
        return None

    @contextlib.contextmanager
    def group(self, name: str, processes: int) -> Iterator[int | None]:
        """Make a group of at most so many processes and threads; yield a descriptor of its `cgroup.procs`.

        Whoever writes `0` to it enters. `None` where the group cannot be made after all.
        """
        place = self._top / name
        fd = None
        try:
            place.mkdir(exist_ok=True)
            (place / _MAX).write_text(str(processes), encoding="ascii")
            fd = os.open(place / _PROCS, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            logger.warning("cgroup.not_made", name=name, error=str(error))
        try:
            yield fd
        finally:
            if fd is not None:
                os.close(fd)

    def remove(self, name: str) -> None:
        """Remove the group of a session whose processes have ended."""
        with contextlib.suppress(OSError):
            (self._top / name).rmdir()

    def close(self) -> None:
        """Remove what is left; a group with a process in it stays until the next worker comes by."""
        with contextlib.suppress(OSError):
            for place in self._top.iterdir():
                if place.is_dir():
                    self.remove(place.name)
            self._top.rmdir()

    def _works(self) -> bool:
        """Try it out: a directory can be made where the controller is not delegated to us."""
        with self.group("trial", 1) as fd:
            works = fd is not None
        self.remove("trial")
        return works


def _of_version_1() -> Path | None:
    """Return our own group in the hierarchy of `pids`, version 1."""
    for line in _lines("/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if "pids" in controllers.split(","):
            return _mounted("cgroup", "pids", path)
    return None


def _of_version_2() -> Path | None:
    """Return our own group in the unified hierarchy, with `pids` handed on to groups below it.

    A group that hands on controllers may have no process itself: this worker moves into one below.
    """
    path = next((line[3:] for line in _lines("/proc/self/cgroup") if line.startswith("0::")), None)
    place = None if path is None else _mounted("cgroup2", "", path)
    if place is None or "pids" not in _words(place / "cgroup.controllers"):
        return None
    if "pids" in _words(place / "cgroup.subtree_control"):
        return place
    own = place / f"ninelives-worker-{os.getpid()}"
    try:
        own.mkdir(exist_ok=True)
        (own / _PROCS).write_text("0", encoding="ascii")
        (place / "cgroup.subtree_control").write_text("+pids", encoding="ascii")
    except OSError:
        with contextlib.suppress(OSError):
            (place / _PROCS).write_text("0", encoding="ascii")
            own.rmdir()
        return None
    return place


def _mounted(kind: str, option: str, path: str) -> Path | None:
    """Return where a group lies in the file system of control groups (proc_pid_mountinfo(5))."""
    for line in _lines("/proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (found, _, options) = before.split(), after.split()[:3]
        if found != kind or (option and option not in options.split(",")):
            continue
        root, mount = fields[3], Path(fields[4])
        inside = os.path.relpath(path, root)
        if not inside.startswith(".."):
            return mount / inside
    return None


def _tidy(place: Path) -> None:
    """Remove the groups of workers that are gone."""
    for left in place.glob("ninelives-[0-9]*"):
        if not Path("/proc", left.name.removeprefix("ninelives-")).exists():
            Groups(left).close()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(str(path))).split()
