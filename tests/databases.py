"""Databases for tests: SQLite files and a real PostgreSQL, migrated once and cloned for each test."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from ninelives_server.store import schema
from ninelives_server.store.core import PostgresStore, SqliteStore

T = TypeVar("T")

# Durability is not what these tests are about, and a CI machine's disk is slow.
_FAST = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=200",
    "listen_addresses=",
)


def _apart(function: Callable[..., T], *args: Any) -> T:
    """Call in a thread of its own: pytest may ask for a fixture while an event loop runs in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result()


def sqlite_template(directory: Path) -> Path:
    """Make a migrated, empty SQLite file and return its path."""
    path = directory / "template.db"
    _apart(schema.migrate, None, path)
    return path


@contextlib.asynccontextmanager
async def sqlite_store(template: Path, path: Path) -> AsyncIterator[SqliteStore]:
    """Yield a store on a copy of the template."""
    shutil.copyfile(template, path)
    store = SqliteStore(path)
    try:
        yield store
    finally:
        await store.close()


def binaries() -> Path:
    """Return the directory of the newest PostgreSQL that Debian has installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    if not found:
        raise RuntimeError("PostgreSQL is not installed; run `make system-packages`")
    return found[-1].parent


def _unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root: become the user that Debian's package has made."""
    if os.geteuid() != 0:
        return ["setpriv", "--pdeathsig", "INT"]
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig", "INT"]


class Postgres:
    """A PostgreSQL server on a Unix socket in a directory of its own."""

    TEMPLATE = "ninelives_template"

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator["Postgres"]:
        """Start a server, make the template, and stop the server at the end."""
        # A socket's path may have 107 characters: pytest's own directories are too deep.
        directory = Path(tempfile.mkdtemp(prefix="nlpg-", dir="/tmp"))
        server = None
        try:
            server = cls._start(directory)
            postgres = cls(directory)
            postgres._make_template(server)
            yield postgres
        finally:
            if server is not None:
                server.send_signal(signal.SIGQUIT)  # at once: nothing in it is worth keeping
                server.wait(30)
            shutil.rmtree(directory, ignore_errors=True)

    @classmethod
    def _start(cls, directory: Path) -> "subprocess.Popen[bytes]":
        data = directory / "data"
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres", "postgres")
        initdb = [*_unprivileged(), binaries() / "initdb", "-D", data, "-U", "ninelives", "-A", "trust"]
        initdb += ["--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd="/")
        command = [*_unprivileged(), binaries() / "postgres", "-D", data, "-k", directory]
        for option in _FAST:
            command += ["-c", option]
        log = (directory / "log").open("wb")
        with log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd="/")

    def url(self, database: str) -> str:
        """Return the address of a database, as a setting would have it."""
        return f"postgresql://ninelives@/{database}?host={self.directory}"

    def _make_template(self, server: "subprocess.Popen[bytes]") -> None:
        _apart(asyncio.run, self._wait(server))
        _apart(asyncio.run, self._admin(f"CREATE DATABASE {self.TEMPLATE}"))
        _apart(schema.migrate, self.url(self.TEMPLATE), Path())

    async def _wait(self, server: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                await (await asyncpg.connect(self.url("postgres"))).close()
            except (OSError, asyncpg.PostgresError):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.directory / "log").read_text()) from None
                await asyncio.sleep(0.05)
            else:
                return

    async def _admin(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    @contextlib.asynccontextmanager
    async def database(self, *, empty: bool = False) -> AsyncIterator[str]:
        """Yield the address of a database of its own; `empty` means without any table."""
        name = f"test_{secrets.token_hex(6)}"
        await self._admin(f"CREATE DATABASE {name} TEMPLATE {'template0' if empty else self.TEMPLATE}")
        try:
            yield self.url(name)
        finally:
            await self._admin(f"DROP DATABASE {name} WITH (FORCE)")

    @contextlib.asynccontextmanager
    async def store(self) -> AsyncIterator[PostgresStore]:
        """Yield a store on a database of its own."""
        async with self.database() as url:
            store = PostgresStore(url, pool_size=4)
            try:
                await store.start()
                yield store
            finally:
                await store.close()
