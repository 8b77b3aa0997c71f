"""`init`, `doctor` and `fake-salesforce`."""

import asyncio
import sys
from pathlib import Path

import click

from ninelives_server import settings as settings_module
from ninelives_server.cli import output as out
from ninelives_server.cli.client import FAILED, USAGE, fail
from ninelives_server.engine import embedded
from ninelives_server.errors import NinelivesError
from ninelives_server.testing.fake_salesforce.command import command as fake_salesforce

__all__ = ["doctor", "fake_salesforce", "init"]


@click.command()
@click.argument("name")
@click.option(
    "--directory", "parent", type=click.Path(path_type=Path), default=Path(), help="where to make it"
)
@out.option
def init(name: str, parent: Path, output: str) -> None:
    """Make the directory NAME with a first project that runs."""
    from ninelives_server.projects import scaffold

    try:
        made = scaffold.init(parent / name, name)
    except NinelivesError as error:
        fail(str(error), USAGE)
    paths = [str(path) for path in made]
    out.document(output, {"files": paths}, lambda _: click.echo("\n".join(paths)))
    out.say(f"\nnext: ninelives deploy {parent / name}")
    out.say(f"then: ninelives session start {name} main.py:hello --durable --wait")


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path))
@out.option
def doctor(data_dir: Path | None, output: str) -> None:
    """Check this machine and the server's settings; exit 1 where something must be put right."""
    settings = settings_module.load(data_dir=data_dir)
    checks = [_python(), _isolation(), _temporal(settings), _public_address(settings), _running(settings)]
    page = {"items": checks, "next_cursor": None}
    out.document(output, page, out.table(("status", "name", "message"), "no checks"))
    if any(check["status"] == "failed" for check in checks):
        raise SystemExit(FAILED)


def _check(name: str, status: str, message: str) -> dict[str, str]:
    return {"name": name, "status": status, "message": message}


def _python() -> dict[str, str]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return _check("python", "ok", f"Python {version} at {sys.executable}")


def _isolation() -> dict[str, str]:
    from ninelives_server.worker import isolation

    found = isolation.probe()
    if found == "none":
        return _check("isolation", "warning", "project code can read this server's keys")
    return _check("isolation", "ok", f"project code is kept from the keys by {found.replace('_', ' ')}")


def _temporal(settings: settings_module.Settings) -> dict[str, str]:
    if settings.temporal_address is not None:
        return _check("temporal", "ok", f"your own, at {settings.temporal_address}")
    if asyncio.run(embedded.can_enclose()):
        return _check("temporal", "ok", "the embedded one is in a network of its own")
    return _check("temporal", "warning", embedded.OPEN_WARNING)


def _public_address(settings: settings_module.Settings) -> dict[str, str]:
    """Check the address of the server that runs, else that of the one which these settings would start."""
    from ninelives_server.connections import parts

    base_url = settings_module.announced(settings.data_dir).get("base_url", settings.base_url)
    problem = parts.callback_warning(base_url)
    if problem:
        return _check("public address", "failed", problem)
    return _check("public address", "ok", f"callbacks go to {base_url}/oauth/redirect/…")


def _running(settings: settings_module.Settings) -> dict[str, str]:
    """Ask the server that wrote down its address whether it can do its work."""
    import httpx2

    url = settings_module.address_of(settings.data_dir)
    if url is None:
        return _check("server", "warning", f"no server runs on {settings.data_dir}; start one: ninelives up")
    try:
        answer = httpx2.get(f"{url}/readyz", timeout=10, trust_env=False)
        checks = answer.json()["checks"]
    except (httpx2.HTTPError, ValueError, KeyError):
        return _check(
            "server", "warning", f"nothing answers at {url}, where one ran last; start it: ninelives up"
        )
    away = [name for name, is_there in checks.items() if not is_there]
    if away:
        return _check("server", "failed", f"runs at {url}, but {' and '.join(away)} cannot be reached")
    return _check("server", "ok", f"runs at {url}")
