"""`server backup` and `server restore`: the database as one file."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ninelives_server import settings as settings_module
from ninelives_server.cli import directory
from ninelives_server.cli import output as out
from ninelives_server.cli.client import FAILED, USAGE, fail
from ninelives_server.clock import SystemClock
from ninelives_server.errors import Invalid, SetupError
from ninelives_server.settings import Settings


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--database-url", help="postgresql://…; default: SQLite in the data directory")
@click.option(
    "--with-key", is_flag=True, help="put the key file into it: then whoever has FILE has all secrets"
)
@out.option
def backup(file: Path, with_key: bool, output: str, **flags: Any) -> None:
    r"""Write all that the server knows to FILE; it may run meanwhile.

    That is our database alone: Temporal's needs no backup, sessions are started again from ours. What is
    sealed stays sealed in it: keep the encryption keys apart from it, a restore needs them.

    \b
    Example:
      ninelives server backup ninelives-backup.gz
    """
    from ninelives_server.store import backup as backups
    from ninelives_server.store import schema

    settings = _settings(flags)
    keys = _keys(settings) if with_key else None
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
        click.echo(
            f"the encryption keys are not in it: keep {_keys_at(settings)} apart from it, for a restore "
            "needs them and nothing sealed can be read without them",
            err=True,
        )
    out.document(output, {"file": str(file), "rows": rows, "has_keys": keys is not None}, lambda _: None)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--database-url", help="postgresql://…; default: SQLite in the data directory")
@out.option
def restore(file: Path, output: str, **flags: Any) -> None:
    r"""Fill an empty data directory or database from FILE; from SQLite into PostgreSQL, too.

    The encryption keys must be at hand first, in DIR/private/keys or NINELIVES_ENCRYPTION_KEYS, unless they
    are in FILE. A database that is not empty is refused. Sessions go on at the next start of the server.

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
            rows = asyncio.run(backups.restore(*_where(settings), source, _opens(settings)))
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}", USAGE)
    except (SetupError, Invalid) as error:
        fail(str(error), FAILED)
    click.echo(f"{rows} rows of {head.made_at:%Y-%m-%d %H:%M} UTC are restored", err=True)
    out.document(output, {"rows": rows, "made_at": head.made_at.isoformat()}, lambda _: None)


def _settings(flags: dict[str, Any]) -> Settings:
    try:
        return settings_module.load(**flags)
    except SetupError as error:
        fail(str(error), USAGE)


def _where(settings: Settings) -> tuple[str | None, Path]:
    url = settings.database_url.get_secret_value() if settings.database_url else None
    path = settings.private_dir / "ninelives.db"
    return url, path


def _keys(settings: Settings) -> str:
    if settings.encryption_keys is not None:
        fail("--with-key is for the key file; NINELIVES_ENCRYPTION_KEYS is kept where it comes from", USAGE)
    path = settings.private_dir / "keys"
    if not path.exists():
        fail(f"there is no key file {path} to put into the backup; leave --with-key out", FAILED)
    return path.read_text(encoding="utf-8")


def _keys_at(settings: Settings) -> str:
    """Name the place of this server's keys."""
    return "NINELIVES_ENCRYPTION_KEYS" if settings.encryption_keys else f"{settings.private_dir / 'keys'}"


def _opens(settings: Settings) -> Callable[[Any], None]:
    """Return a check that the keys at hand open what is restored; it names the key that is missing."""
    from ninelives_server.store import data_keys
    from ninelives_server.vault import keys
    from ninelives_server.vault.vault import Vault

    path = settings.private_dir / "keys"
    if settings.encryption_keys is None and not path.exists():
        ring = keys.Keyring(current="", keys={}, source=f"NINELIVES_ENCRYPTION_KEYS or {path}")
    else:
        ring = keys.load(settings, create=False)
    return Vault(ring, data_keys).fits


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
