"""The schema's version: bring a database to it, or refuse one that is newer.

Versions count up: `0001`, `0002`, …. A migration runs in one transaction, whole or not at all; servers that
start together on PostgreSQL wait for each other. There is no way down: go back by restoring a backup.
"""

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine

from ninelives_server.errors import SetupError
from ninelives_server.model.sessions import SessionState
from ninelives_server.store import sqlite_file, tables

T = TypeVar("T")

# Any number that nobody else uses for pg_advisory_xact_lock.
_LOCK = 0x4E494E45


def migrate(database_url: str | None, sqlite_path: Path) -> tuple[str | None, str]:
    """Bring the database to this version's schema; not to be called on an event loop's thread.

    Returns:
        The schema version before (`None` for an empty database) and after.

    Raises:
        SetupError: The schema is newer, or the database cannot be reached.
    """
    return asyncio.run(migrated(database_url, sqlite_path))


async def migrated(database_url: str | None, sqlite_path: Path) -> tuple[str | None, str]:
    """Do what `migrate` does, on an event loop."""
    return await _with_connection(database_url, sqlite_path, _upgrade)


async def check(database_url: str | None, sqlite_path: Path) -> str:
    """Return the schema version, where it is the one that this version of the program uses.

    Raises:
        SetupError: It is older or newer; both versions are named.
    """
    return await _with_connection(database_url, sqlite_path, _checked)


def cut_off(database_url: str | None, sqlite_path: Path, carried: Collection[int]) -> list[tuple[str, ...]]:
    """Return durable sessions that have not ended and need semantics that are not carried.

    The schema may be an older one; not to be called on an event loop's thread.

    Returns:
        Id, name of the project and state of each.

    Raises:
        SetupError: The schema is newer, or the database cannot be reached.
    """

    def look(connection: sa.Connection) -> list[tuple[str, ...]]:
        _refuse_newer(_current(connection))
        if not sa.inspect(connection).has_table("sessions"):
            return []
        session, project = tables.sessions.c, tables.projects.c
        query = (
            sa.select(session.id, project.name, session.state)
            .join_from(tables.sessions, tables.projects, session.project_id == project.id)
            .where(session.is_durable, session.semantics.not_in(carried))
            .where(session.state.not_in([state for state in SessionState if state.is_terminal]))
            .order_by(session.id)
        )
        return [tuple(row) for row in connection.execute(query)]

    return asyncio.run(_with_connection(database_url, sqlite_path, look))


def head() -> str:
    """Return the schema version that this version of the program uses."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None
    return found


def _config() -> Config:
    config = Config()
    # Alembic expands `%` in options.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _current(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(current: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if current is not None and current not in known:
        raise SetupError(
            f"the database has schema {current} and this version of Ninelives knows schemas up to {head()}; "
            "run the version that made it, or a newer one"
        )


def _checked(connection: sa.Connection) -> str:
    current = _current(connection)
    _refuse_newer(current)
    if current != head():
        raise SetupError(
            f"the database has schema {current or 'none'} and this version of Ninelives needs {head()}; "
            "run `ninelives server migrate`"
        )
    return current


def _upgrade(connection: sa.Connection) -> tuple[str | None, str]:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    current = _current(connection)
    _refuse_newer(current)
    if current != head():
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return current, head()


async def _with_connection(
    database_url: str | None, sqlite_path: Path, work: Callable[[sa.Connection], T]
) -> T:
    try:
        if database_url is None:
            return await asyncio.to_thread(_on_sqlite, sqlite_path, work)
        engine = create_async_engine(sa.make_url(database_url).set(drivername="postgresql+asyncpg"))
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(work)
        finally:
            await engine.dispose()
    except (sa.exc.DBAPIError, OSError) as error:
        where = str(sqlite_path) if database_url is None else sa.make_url(database_url).render_as_string()
        cause = getattr(error, "orig", None) or error
        raise SetupError(f"the database {where} cannot be used: {cause}") from error


def _on_sqlite(path: Path, work: Callable[[sa.Connection], T]) -> T:
    engine = sqlite_file.engine_of(path)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            result = work(connection)
            connection.commit()
            return result
    finally:
        engine.dispose()
