"""Find the modules that a build imports, and which of them a zygote may import for all its sessions.

A module is imported once, in the zygote, if its import leaves nothing behind that a fork would share or lose
and depends on nothing that differs between sessions. That is tried in a process that is thrown away: a module
that reads a variable which every session has for itself, changes or lists variables, leaves a thread, a
file or a socket open, starts a program, connects or writes a file is imported in each session instead. The
names of other variables that were looked for are told, so that a session which has one of them is forked
elsewhere. Random generators that modules keep are seeded anew in each session.

Modules of the build itself are never imported here. Standard library only.
"""

import ast
import contextlib
import importlib
import json
import os
import random
import select
import signal
import sys
import weakref
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

from ninelives.run import bytecode, calltable

#: Variables that sessions have and their zygote has not.
_SESSIONS_OWN = frozenset({"HOME", "LC_ALL", "TMPDIR", "USER"})
#: Never preloaded: our patches must see their import, or importing them does something.
_NEVER = calltable.REWRITTEN | {
    "__main__",
    "antigravity",
    "autokitteh",
    "idlelib",
    "ninelives",
    "this",
    "turtle",
}
#: Audit events of the standard library that tell of programs started, messages sent and files changed.
_EVENTS = frozenset(
    {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "pty.spawn", "subprocess.Popen"}
    | {"socket.connect", "socket.sendto", "os.remove", "os.rename", "os.mkdir", "sqlite3.connect"}
)
_generators: "weakref.WeakSet[random.Random]" = weakref.WeakSet()
#: A module that takes longer to import is left to the sessions. seconds
_PATIENCE = 60.0


def tops_of(build: str) -> set[str]:
    """Return the names that a build's own top-level modules and packages have."""
    with os.scandir(build) as entries:
        return {e.name.removesuffix(".py") for e in entries if e.name.endswith(".py") or e.is_dir()}


def give_way(build: str) -> None:
    """Forget shared packages of the environment whose names this build has modules for.

    Only those names are looked up: to go through all modules writes to the memory of each, and a session
    would get a copy of all that from the kernel.
    """
    for top in tops_of(build) & sys.modules.keys():
        for name in [name for name in sys.modules if name.partition(".")[0] == top]:
            file = getattr(sys.modules[name], "__file__", None)
            if file and file.startswith(f"{sys.prefix}/"):
                del sys.modules[name]


def wanted(build: str) -> list[str]:
    """Return the modules outside the build that its sources import, in order of first appearance."""
    own = tops_of(build)
    found: dict[str, None] = {}
    for path in sorted(Path(build).rglob("*.py")):
        if path.stat().st_size <= bytecode.SOURCE_LIMIT:
            found.update(dict.fromkeys(_imports(path)))
    tops = ((name, name.partition(".")[0]) for name in found)
    return [name for name, top in tops if top not in own and top not in _NEVER]


def _imports(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # the session reports it, with its place
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


class _Recorder(MutableMapping[str, str]):
    """Environment variables that remember what was looked for.

    Attributes:
        touched: What makes the import unfit to be shared.
        missed: Names that were looked for and are not set.
    """

    def __init__(self, inner: MutableMapping[str, str]) -> None:
        self._inner = inner
        self.touched: list[str] = []
        self.missed: set[str] = set()

    def _note(self, name: str) -> None:
        if name in _SESSIONS_OWN:
            self.touched.append(f"reads {name}")
        elif name not in self._inner:
            self.missed.add(name)

    def __getitem__(self, name: str) -> str:
        self._note(name)
        return self._inner[name]

    def __contains__(self, name: object) -> bool:
        self._note(str(name))
        return name in self._inner

    def __setitem__(self, name: str, value: str) -> None:
        self.touched.append(f"sets {name}")
        self._inner[name] = value

    def __delitem__(self, name: str) -> None:
        self.touched.append(f"removes {name}")
        del self._inner[name]

    def __iter__(self) -> Iterator[str]:
        self.touched.append("reads all variables")
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)

    def copy(self) -> dict[str, str]:
        """Return a plain copy, as `os.environ` does."""
        return dict(self)


class _Watch:
    """What an import does beside defining names; for a process that is thrown away."""

    def __init__(self) -> None:
        _watch_trust()
        self._environ = _Recorder(os.environ)
        os.environ = self._environ  # type: ignore[assignment]  # noqa: B003
        self._events = self._environ.touched
        self._before = _left_open()
        sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event in _EVENTS:
            self._events.append(event)
        elif event == "open" and _writes(*args):
            self._events.append(f"writes {args[0]}")

    @property
    def missed(self) -> list[str]:
        """Names of variables that were looked for and are not set."""
        return sorted(self._environ.missed)

    def why_not(self) -> str:
        """Return what was noticed since the start, or nothing."""
        if self._events:
            return self._events[0]
        threads, files = _left_open()
        if threads > self._before[0]:
            return "leaves a thread"
        return "leaves a file or socket open" if files - self._before[1] else ""


def _watch_trust() -> None:
    """Have a TLS context that trusts the system's authorities look for the variables that name others.

    OpenSSL reads them past `os.environ`, and a context which a module makes at its import (`aiohttp` does)
    is never asked again.
    """
    import ssl

    paths = ssl.get_default_verify_paths()
    read = ssl.SSLContext.set_default_verify_paths

    def watched(self: ssl.SSLContext) -> None:
        for name in (paths.openssl_cafile_env, paths.openssl_capath_env):
            os.environ.get(name)
        read(self)

    ssl.SSLContext.set_default_verify_paths = watched  # type: ignore[method-assign]


def _writes(path: object, _mode: object, flags: object) -> bool:
    changes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    return bool(changes) and not str(path).startswith("/dev/")


def _left_open() -> tuple[int, set[str]]:
    files = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            files.add(f"{link.name} {link.readlink()}")
        except OSError:
            continue  # the descriptor of the listing itself
    return len(list(Path("/proc/self/task").iterdir())), files


def _load(name: str) -> None:
    """Import a module that was tried."""
    with _keep_generators(), contextlib.suppress(Exception, SystemExit):
        importlib.import_module(name)


@contextlib.contextmanager
def _keep_generators() -> Iterator[None]:
    """Remember the generators that are seeded by chance, for `reseed`."""
    seed = random.Random.seed

    def watched(self: random.Random, a: Any = None, version: int = 2) -> None:
        seed(self, a, version)
        if a is None:
            _generators.add(self)

    random.Random.seed = watched  # type: ignore[method-assign]
    try:
        yield
    finally:
        random.Random.seed = seed  # type: ignore[method-assign]


def reseed() -> None:
    """Give this process's random generators their own states; `random` itself does so after each fork."""
    for generator in _generators:
        generator.seed()
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed()


def _try_in_turn(names: list[str]) -> tuple[int, str, list[str]]:
    """Import until one is not fit.

    Returns:
        How many were fit, what was wrong with the next, and the variables that those before it missed.
    """
    watch = _Watch()
    missed: list[str] = []
    for count, name in enumerate(names):
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            return count, f"fails with {type(error).__name__}", missed
        if why := watch.why_not():
            return count, why, missed
        missed = watch.missed
    return len(names), "", missed


def _try(names: list[str]) -> tuple[int, str, list[str]]:
    """Do the same in a child; where one ends the process, find out which, from the first on."""
    result = in_child(_try_in_turn, names)
    if result is None and len(names) > 1:
        result = in_child(_try_in_turn, names[:1])
        if result and result[0]:
            return 1, "", result[2]
    count, why, missed = result or (0, "does not come back from its import", [])
    return count, why, missed


def in_child(work: Callable[..., Any], *args: Any) -> Any:
    """Run a function in a fork of this process and return its result, as JSON; `None` if that fails."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(ours)
            with os.fdopen(theirs, "w", encoding="utf-8") as answer:
                json.dump(work(*args), answer)
            status = 0
        except BaseException as error:
            os.write(2, f"preload: {type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(status)
    os.close(theirs)
    try:
        text = _read_all(ours)
    finally:
        os.close(ours)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return json.loads(text) if text else None


def _read_all(fd: int) -> str:
    parts: list[bytes] = []
    while select.select([fd], [], [], _PATIENCE)[0]:
        part = os.read(fd, 65536)
        if not part:
            return b"".join(parts).decode()
        parts.append(part)
    return ""


class Preloaded(NamedTuple):
    """What came of preloading.

    Attributes:
        left: Modules that each session has to import, with the reason.
        missed: Names of variables: a session that has one of them must not share what was imported.
    """

    left: dict[str, str]
    missed: list[str]


def preload(names: list[str]) -> Preloaded:
    """Import what may be imported for all."""
    left: dict[str, str] = {}
    missed: set[str] = set()
    rest = [name for name in names if name not in sys.modules]
    while rest:
        count, why, looked = _try(rest)
        missed.update(looked)
        for name in rest[:count]:
            _load(name)
        if why:
            left[rest[count]] = why
        rest = rest[count + bool(why) :]
    return Preloaded(left, sorted(missed))
