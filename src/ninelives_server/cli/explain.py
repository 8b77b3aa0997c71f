"""`ninelives explain`: what each call of a file will be in a durable session."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

import ninelives
from ninelives_server.cli import output as out
from ninelives_server.cli.client import USAGE, Stop

#: Importing a project's libraries takes its time. seconds
_PATIENCE = 120


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--project",
    "root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's directory; its own modules are not imported. Default: where FILE is.",
)
@click.option(
    "--python",
    default=sys.executable,
    show_default="this program's",
    help="An interpreter that has the project's requirements.",
)
@out.option
def explain(file: Path, root: Path | None, python: str, output: str) -> None:
    """Say for each call in FILE whether it is a step, a wait or direct, and why.

    Nothing of the project runs. A call whose target the text alone does not tell is "decided at run time".
    """
    document = _asked(python, file.resolve(), (root or file.parent).resolve())
    if "error" in document:
        raise click.ClickException(document["error"])
    out.document(output, document, _show)


def _asked(python: str, file: Path, root: Path) -> dict[str, Any]:
    """Ask an interpreter that may have other libraries than this one; the SDK is given to it."""
    sdk = Path(ninelives.__file__).resolve().parents[1]
    program = (
        "import sys; sys.path.append(sys.argv.pop(1)); from ninelives.run import explain; explain.main()"
    )
    try:
        done = subprocess.run(
            [python, "-B", "-c", program, str(sdk), str(file), str(root)],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except OSError as error:
        message = f"{python} does not start ({error.strerror}); name an interpreter with --python"
        raise Stop(message, USAGE) from None
    if done.returncode:
        raise click.ClickException(f"{python}: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _show(document: Mapping[str, Any]) -> None:
    calls = document["calls"]
    if not calls:
        click.echo("no calls")
        return
    place, call, kind = (max(map(len, found)) for found in zip(*map(_columns, calls), strict=True))
    for site in calls:
        at, what, how = _columns(site)
        click.echo(f"{at:<{place}}  {what:<{call}}  {how:<{kind}}  {site['why']}")


def _columns(site: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{site['line']}:{site['column']}", site["call"].replace("\n", " ")[:60], site["kind"]
