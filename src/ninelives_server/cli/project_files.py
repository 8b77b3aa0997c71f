"""`project lint`, `project export` and `project schema`: projects as files."""

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import click

from ninelives_server.cli import output as out
from ninelives_server.cli.client import FAILED, NO_SERVER, NO_SUCH_THING, USAGE, Stop, connect, fail, segment
from ninelives_server.cli.projects import bundle


@click.command()
@click.argument("directory", default=".")
@click.option("--project", "name", help="the name under which it will be deployed, instead of the manifest's")
@click.option("--offline", is_flag=True, help="ask no server, even if one runs")
@out.option
def lint(directory: str, name: str | None, offline: bool, output: str) -> None:
    r"""Check DIRECTORY, or a project that is deployed, by every rule; exit 1 where there is an error.

    A server that runs is asked, because it knows what the org and the project have; without one, this
    command checks all that the files show. The rules are listed in docs/reference/lint.md.

    \b
    Example:
      ninelives project lint ./lead_router
    """
    path = Path(directory)
    packed = bundle(path) if path.is_dir() else _deployed(directory)
    name = name if path.is_dir() else directory
    page = _offline(packed, name) if offline else _asked(packed, name)
    out.document(output, page, _show)
    if any(found["severity"] == "error" for found in page["items"]):
        raise SystemExit(FAILED)


def _deployed(name: str) -> bytes:
    """Return the files of a project that is deployed."""
    if "/" in name or name.startswith("."):
        fail(f"{name} is no directory", USAGE)
    try:
        return _tar(connect().download(f"/projects/{segment(name)}/export"))
    except Stop as stop:
        if stop.exit_code == NO_SERVER:
            fail(
                f"{name!r} is no directory, and no server can be asked for a project of that name",
                NO_SUCH_THING,
            )
        raise


def _tar(packed: bytes) -> bytes:
    """Return a zip's files as a gzipped tar."""
    raw = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive, tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for entry in archive.infolist():
            header = tarfile.TarInfo(entry.filename)
            header.size = entry.file_size
            header.mode = entry.external_attr >> 16
            tar.addfile(header, io.BytesIO(archive.read(entry)))
    return raw.getvalue()


def _asked(packed: bytes, name: str | None) -> Any:
    try:
        return connect().call("POST", "/lints", content=packed, params={"project": name})
    except Stop as stop:
        if stop.exit_code != NO_SERVER:
            raise
        out.say("no server was asked: what the org has, and the server's address, are not known")
        return _offline(packed, name)


def _offline(packed: bytes, name: str | None) -> dict[str, Any]:
    # Loading the integrations and the filter language takes a while; other commands need neither.
    from ninelives_server.clock import SystemClock
    from ninelives_server.events.filters import Filters
    from ninelives_server.integrations.registry import Registry
    from ninelives_server.projects import lint as rules
    from ninelives_server.projects.checks import Surroundings

    around = Surroundings(
        integrations=Registry.load().names(),
        connections=None,
        filters=Filters(),
        now=SystemClock().now(),
    )
    found = rules.lint(packed, around, named=name is not None)
    keys = ("rule", "severity", "file", "line", "message")
    return {"items": [{key: getattr(item, key) for key in keys} for item in found], "next_cursor": None}


def _show(page: Any) -> None:
    for found in page["items"]:
        where = (
            f"{found['file']}:{found['line']}: "
            if found["line"]
            else f"{found['file']}: " * bool(found["file"])
        )
        click.echo(f"{where}{found['severity']}: {found['message']} [{found['rule']}]")
    count = {kind: sum(found["severity"] == kind for found in page["items"]) for kind in ("error", "warning")}
    said = [f"{number} {kind}{'s' * (number != 1)}" for kind, number in count.items() if number]
    out.say(", ".join(said) or "nothing to complain about")


@click.command()
@click.argument("name")
@click.argument("target", required=False)
@out.option
def export(name: str, target: str | None, output: str) -> None:
    r"""Write a project's code and a manifest (v2) of what it has now to TARGET: a directory or a .zip.

    Without TARGET, to NAME.zip. Deployed again, it gives the same project. Secrets and grants are not part
    of it: they are entered again. A manifest that the code came with is kept as `….user`.

    \b
    Examples:
      ninelives project export lead_router
      ninelives project export lead_router ./copy
    """
    packed = connect().download(f"/projects/{segment(name)}/export")
    path = Path(target or f"{name}.zip")
    names = zipfile.ZipFile(io.BytesIO(packed)).namelist()
    try:
        if path.suffix == ".zip":
            path.write_bytes(packed)
        else:
            _unpack(packed, path)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}", USAGE)
    document = {"project": name, "path": str(path), "files": names}
    out.document(output, document, lambda _: click.echo(path))
    out.say(f"{len(names)} files; values of secrets are not among them")


def _unpack(packed: bytes, directory: Path) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        fail(f"{directory} is there already and not empty; choose another target", USAGE)
    directory.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        for entry in archive.infolist():
            written = Path(archive.extract(entry, directory))
            written.chmod(entry.external_attr >> 16)


@click.command()
def schema() -> None:
    r"""Print the JSON Schema of ninelives.yaml, for editors; a server has it at /ninelives.schema.json.

    \b
    Example:
      ninelives project schema > ninelives.schema.json
    """
    from ninelives_server.projects import manifest

    click.echo(json.dumps(manifest.schema(), indent=2, ensure_ascii=False))
