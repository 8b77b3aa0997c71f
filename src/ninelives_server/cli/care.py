"""`server backup` and `server restore`: the database as one file."""

import asyncio
import os
from pathlib import Path
from typing import Any

import click

from ninelives_server import settings as settings_module
from ninelives_server.cli import directory
from ninelives_server.cli.client import FAILED, USAGE, fail
from ninelives_server.clock import SystemClock
from ninelives_server.errors import Invalid, SetupError
from ninelives_server.settings import Settings


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--database-url", help="postgresql://…; default: SQLite in the data directory")
@click.option("--without-key", is_flag=True, help="leave the key file out; keep a copy of it elsewhere")
def backup(file: Path, without_key: bool, **flags: Any) -> None:
    r"""Write all that the server knows to FILE; it may run meanwhile.

    That is the database: Temporal's needs no backup, sessions are started again from ours. The key file of
    the data directory is part of it, because nothing sealed can be read without: guard FILE as you guard it.

    \b
    Example:
      ninelives server backup ninelives-backup.gz
    """
    from ninelives_server.store import backup as backups
    from ninelives_server.store import schema

    settings = _settings(flags)
    keys = None if without_key or settings.encryption_keys else _keys(settings)
    head = backups.Head(schema=schema.head(), made_at=SystemClock().now(), keys=keys)
    fresh = file.with_name(f".{file.name}.new")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
            rows = asyncio.run(backups.write(*_where(settings), target, head))
            target.flush()
            os.fsync(target.fileno())
        fresh.replace(file)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}", USAGE)
    except SetupError as error:
        fail(str(error), FAILED)
    finally:
        fresh.unlink(missing_ok=True)
    click.echo(f"{file}: {rows} rows", err=True)
    if keys is None:
        click.echo("the encryption keys are not in it, and nothing sealed can be read without them", err=True)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--database-url", help="postgresql://…; default: SQLite in the data directory")
def restore(file: Path, **flags: Any) -> None:
    r"""Fill an empty data directory or database from FILE; from SQLite into PostgreSQL, too.

    A database that is not empty is refused. Sessions go on at the next start of the server.

    \b
    Example:
      ninelives server restore ninelives-backup.gz --data-dir /srv/ninelives
    """
    from ninelives_server.store import backup as backups

    settings = _settings(flags)
    try:
        with directory.owned(settings), file.open("rb") as source:
            head = backups.head_of(source)
            _put_keys(settings, head.keys)
            rows = asyncio.run(backups.restore(*_where(settings), source))
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}", USAGE)
    except (SetupError, Invalid) as error:
        fail(str(error), FAILED)
    click.echo(f"{rows} rows of {head.made_at:%Y-%m-%d %H:%M} UTC are restored", err=True)


def _settings(flags: dict[str, Any]) -> Settings:
    try:
        return settings_module.load(**flags)
    except SetupError as error:
        fail(str(error), USAGE)


def _where(settings: Settings) -> tuple[str | None, Path]:
    url = settings.database_url.get_secret_value() if settings.database_url else None
    path = settings.private_dir / "ninelives.db"
    return url, path


def _keys(settings: Settings) -> str | None:
    path = settings.private_dir / "keys"
    return path.read_text(encoding="utf-8") if path.exists() else None


def _put_keys(settings: Settings, keys: str | None) -> None:
    """Write the key file of a backup, unless there is the same one already."""
    path = settings.private_dir / "keys"
    if keys is None or settings.encryption_keys is not None:
        return
    if path.exists():
        if path.read_text(encoding="utf-8") != keys:
            raise SetupError(f"{path} holds other keys than the backup; restore into a new data directory")
        return
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(keys)
