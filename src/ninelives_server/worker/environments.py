"""Virtual environments, one for each set of resolved requirements; made with uv.

Building a package runs its author's code, so uv runs confined as sessions do: it sees neither keys nor
database. What a build requires is resolved when it is deployed (`resolve`); workers install just that.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import venv
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import uv

from ninelives.run.confine import Mode
from ninelives_server import log
from ninelives_server.errors import Invalid
from ninelives_server.worker import isolation, tidy, zygotes
from ninelives_server.worker.words import Progress, Tell, Words

logger = log.get(__name__)

#: Resolving or installing takes no longer; a large package over a slow line fits. seconds
_PATIENCE = 900.0
#: Between two looks at whether another worker has made the environment. seconds
_LOOK = 0.1
#: The resolver's words in an error; the rest goes to the log. characters
_WORDS = 4000
#: Which parts of uv write down what they do while it resolves, see `words.Progress`.
_LOG = "uv_resolver=debug,uv_distribution=debug,uv_client=debug"
#: Lists in uv's settings are separated by commas (`UV_FIND_LINKS`) or white space (`UV_EXTRA_INDEX_URL`).
_WORD = re.compile(r"[\s,]+")
#: Why uv may have found nothing, to whoever runs the server.
_HINT = (
    "hint: {} names a directory that also holds this server's data, so uv was not shown it; "
    "whoever runs the server should give packages a directory of their own"
)
_DONE = ".complete"
#: What uv may take from our environment: its own settings and the way to the network.
_FORWARDED = re.compile(r"(?i)(UV_.*|(https?|all|no)_proxy|SSL_CERT_(FILE|DIR))")


@dataclass(frozen=True, slots=True)
class Environment:
    """Packages that a build needs.

    Attributes:
        digest: Names interpreter and packages.
        prefix: The virtual environment's directory.
    """

    digest: str
    prefix: Path


class Environments:
    """The environments below a worker's data directory; also resolves requirements for the server."""

    def __init__(
        self, data_dir: Path, *, sdk: Path, mode: Mode | None = None, private: Sequence[Path] = ()
    ) -> None:
        self._data_dir = data_dir
        self._directory = data_dir / "environments"
        self._cache = data_dir / "cache" / "uv"
        self._sdk = sdk
        self._mode = mode
        self._private = private
        self._locks: dict[str, asyncio.Lock] = {}
        self._words: dict[str, Words] = {}

    async def resolve(self, requirements: str, tell: Tell = lambda _: None) -> list[str]:
        """Return the exact packages that a `requirements.txt` stands for here; nothing for an empty one.

        Args:
            requirements: The text of the file.
            tell: Gets what the resolver has said so far, again and again while it works.

        Raises:
            Invalid: They cannot be resolved; in the resolver's words.
        """
        check(requirements)
        if not _lines(requirements):
            return []
        scratch = self._data_dir / "cache" / f"resolve-{os.getpid()}-{id(requirements):x}"
        await self._make(scratch)
        source, target = scratch / "requirements.txt", scratch / "resolved.txt"
        source.write_text(requirements, encoding="utf-8")
        source.chmod(0o644)
        try:
            options = [
                "--no-header",
                "--no-annotate",
                "--no-emit-index-url",
                "--python",
                isolation.base_python(),
            ]
            words = Words()
            words.begin(f"{scratch}/")
            arguments = ["pip", "compile", "--quiet", *options, "-o", str(target), str(source)]
            with words.told(tell):
                code = await self._uv(arguments, scratch, words, noting=_LOG)
            if code != 0:
                raise Invalid(_excuse("requirements.txt cannot be resolved", words))
            return _lines(target.read_text(encoding="utf-8"))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def has(self, requirements: Sequence[str]) -> bool:
        """Say whether the environment with exactly these packages is there already."""
        return (self._directory / digest_of(requirements) / _DONE).exists()

    async def ensure(self, requirements: Sequence[str], tell: Tell = lambda _: None) -> Environment:
        """Return the environment with exactly these packages; make it if it is not there.

        Args:
            requirements: The packages.
            tell: Gets what uv has said so far, again and again while it works; also where the environment
                is already being made for somebody else.

        Raises:
            Invalid: They cannot be installed; in uv's words.
        """
        digest = digest_of(requirements)
        environment = Environment(digest, self._directory / digest)
        if not (environment.prefix / _DONE).exists():
            with self._heard(digest, tell) as words:
                async with self._lock(digest, words):
                    if not (environment.prefix / _DONE).exists():
                        await self._create(environment, requirements, words)
        tidy.used(environment.prefix)
        return environment

    @contextlib.contextmanager
    def _heard(self, digest: str, tell: Tell) -> Iterator[Words]:
        """Yield what is said about an environment that is being made; `tell` hears it meanwhile."""
        words = self._words.setdefault(digest, Words())
        try:
            with words.told(tell):
                yield words
        finally:
            if not words.is_heard:
                self._words.pop(digest, None)

    @contextlib.asynccontextmanager
    async def _lock(self, digest: str, words: Words) -> AsyncIterator[None]:
        """Keep others from making the same environment: in this process, and on this data directory."""
        self._directory.mkdir(parents=True, exist_ok=True)
        async with self._locks.setdefault(digest, asyncio.Lock()):
            with (self._directory / f".lock-{digest}").open("w") as file:
                is_ours = _is_ours(file)
                if not is_ours:
                    words.add("Another worker on this machine is making it")
                while not is_ours:  # another process does not tell when it unlocks
                    await asyncio.sleep(_LOOK)
                    is_ours = _is_ours(file)
                yield

    async def _create(self, environment: Environment, requirements: Sequence[str], words: Words) -> None:
        prefix = environment.prefix
        words.begin(f"{prefix}/", f"{self._data_dir}/")
        if prefix.exists():  # an attempt that did not come to its end
            await asyncio.to_thread(shutil.rmtree, prefix)
        logger.info("environment.started", environment=environment.digest, packages=len(requirements))
        await asyncio.to_thread(_make_venv, prefix)
        if requirements:
            isolation.give(prefix, await self._confinement())
            wanted = prefix / "requirements.txt"
            wanted.write_text("\n".join(requirements) + "\n", encoding="utf-8")
            options = ["--compile-bytecode", "--python", str(prefix / "bin" / "python")]
            code = await self._uv(["pip", "install", *options, "-r", str(wanted)], prefix, words)
            if code != 0:
                raise Invalid(_excuse("the environment cannot be made", words))
        (prefix / _DONE).touch()
        logger.info("environment.created", environment=environment.digest)

    async def _confinement(self) -> Mode:
        """Return how to confine uv; found out when it is needed, because that takes a while."""
        if self._mode is not None:
            return self._mode
        self._mode = mode = await asyncio.to_thread(isolation.probe)
        return mode

    async def _make(self, directory: Path) -> None:
        mode = await self._confinement()
        await asyncio.to_thread(_give_once, directory, mode)

    async def _uv(self, arguments: Sequence[str], place: Path, words: Words, *, noting: str = "") -> int:
        """Run uv confined, with `place` and the cache as the only things below the data directory.

        With `noting` it says how far it is, as far as `words.Progress` lets that pass.
        """
        await self._make(self._cache)
        show = [Path(uv.find_uv_bin()), *(path for _, path in self._named() if not self._is_above(path))]
        plan = isolation.plan(
            await self._confinement(),
            data_dir=self._data_dir,
            private=self._private,
            show=show,
            write=[place, self._cache],
        )
        command = [uv.find_uv_bin(), *arguments, "--cache-dir", str(self._cache)]
        spec = {"plan": plan, "command": command, "environ": _environ(place, noting)}
        add = Progress(words.add).add if noting else words.add
        ours, theirs = os.pipe()
        process, control = zygotes.launch(self._sdk, spec, output=theirs)
        os.close(theirs)
        try:
            async with asyncio.timeout(_PATIENCE):
                await asyncio.to_thread(_read, ours, asyncio.get_running_loop(), add)
                code = await asyncio.to_thread(process.wait)
        except TimeoutError:
            words.add(f"error: it took more than {_PATIENCE:.0f} s")
            return 1
        finally:
            process.kill()
            process.wait()
            control.close()
        if code != 0:
            for name, path in self._named():
                if self._is_above(path) and not isolation.is_visible(plan, path):
                    words.add(_HINT.format(name))
            logger.warning("environment.failed", words=words.text[-_WORDS:])
        return code

    def _named(self) -> list[tuple[str, Path]]:
        """Return the files and directories that uv's own settings name, with their settings."""
        given = [(name, value) for name, value in os.environ.items() if _FORWARDED.fullmatch(name)]
        words = [(name, word) for name, value in given for word in _WORD.split(value)]
        return [(name, Path(word)) for name, word in words if word.startswith("/") and Path(word).exists()]

    def _is_above(self, path: Path) -> bool:
        """Tell whether a directory holds our data directory: to show it would show what is hidden."""
        return self._data_dir.resolve().is_relative_to(path.resolve())


def _is_ours(file: IO[str]) -> bool:
    """Try to lock a file that another worker on this data directory may hold."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def check(requirements: str) -> None:
    """Refuse lines that name files or options instead of packages.

    Raises:
        Invalid: Names the line.
    """
    continues = False
    for number, line in enumerate(requirements.splitlines(), 1):
        if not continues and line.lstrip().startswith("-"):
            raise Invalid(
                f"requirements.txt:{number}: {line.strip()[:100]!r} is an option; "
                "list the packages themselves"
            )
        continues = line.rstrip().endswith("\\")


def digest_of(requirements: Sequence[str]) -> str:
    """Return the name of an environment: of the interpreter and of the packages, in any order."""
    what = [sys.version, isolation.base_python(), *sorted(set(requirements))]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def _lines(text: str) -> list[str]:
    found = (line.strip() for line in text.splitlines())
    return [line for line in found if line and not line.startswith("#")]


def _give_once(directory: Path, mode: Mode) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if directory.stat().st_uid != (isolation.session_user(mode) or os.geteuid()):
        isolation.give(directory, mode)


def _make_venv(prefix: Path) -> None:
    prefix.parent.mkdir(parents=True, exist_ok=True)
    venv.EnvBuilder(symlinks=True, with_pip=False).create(prefix)
    prefix.chmod(0o755)


def _environ(place: Path, noting: str) -> Mapping[str, str]:
    given = {name: value for name, value in os.environ.items() if _FORWARDED.fullmatch(name)}
    ours = {"HOME": str(place), "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
    return {**given, **ours, **({"RUST_LOG": noting} if noting else {})}


def _read(fd: int, loop: asyncio.AbstractEventLoop, add: Callable[[str], None]) -> None:
    """Pass on what uv says, from a thread of its own, until it has nothing more to say."""
    with os.fdopen(fd, "rb") as file:
        for line in file:
            loop.call_soon_threadsafe(add, line.decode(errors="replace"))


def _excuse(what: str, words: Words) -> str:
    return f"{what}: {words.point()[-_WORDS:] or 'uv said nothing'}"
