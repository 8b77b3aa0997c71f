"""`integrations check` and `integrations new`: for who adds an integration; no server is asked."""

from pathlib import Path

import click

from ninelives_server.cli import output as out
from ninelives_server.cli.client import FAILED, NO_SUCH_THING, USAGE, fail

_SCAFFOLD = """\
name = "{name}"                         # the file's name
title = "{title}"                       # as its maker writes it
docs = "https://example.com/docs/auth"  # where the service tells how such a key is made

[[modes]]                               # the first one is what a manifest's connection gets
name = "api_key"
title = "API key"
token = "api_key"                       # the field that is handed out as access token; may be left out

[[modes.fields]]                        # sessions find it as CONNECTION__api_key
name = "api_key"
label = "API key"
kind = "secret"                         # text, secret, choice or url
required = true
"""


@click.command("check")
@click.argument("name", required=False)
@out.option
def check(name: str | None, output: str) -> None:
    r"""Check every integration of this release, or NAME: one of them, or a TOML file of your own.

    Exit 1 where something is wrong: each problem is a line with the file and the key.

    \b
    Example:
      ninelives integrations check ./acme.toml
    """
    found = _found(name)
    items = [{"name": one, "problems": texts} for one, texts in sorted(found.items())]
    texts = [text for item in found.values() for text in item]
    out.document(output, {"items": items}, lambda _: click.echo("".join(f"{t}\n" for t in texts), nl=False))
    out.say(f"{len(found)} checked, {len(texts)} problems")
    if texts:
        raise SystemExit(FAILED)


def _found(name: str | None) -> dict[str, list[str]]:
    """Return the problems of what is to be checked, by name."""
    from ninelives_server.integrations import check as checks
    from ninelives_server.integrations import registry

    if name is not None and name.endswith(".toml"):
        return {Path(name).stem: checks.file_problems(Path(name))}
    found = {file.stem: checks.file_problems(file) for file in registry.catalogue()}
    found |= {one.name: checks.problems(one) for one in registry.coded()}
    if name is None:
        return found
    if name not in found:
        fail(f"there is no integration {name!r}; there is {', '.join(sorted(found))}", NO_SUCH_THING)
    return {name: found[name]}


@click.command("new")
@click.argument("name")
@click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="where to put it"
)
@out.option
def new(name: str, directory: Path, output: str) -> None:
    r"""Write NAME.toml, an integration that is data and asks for a key; change it, then check it.

    \b
    Example:
      ninelives integrations new acme --directory src/ninelives_server/providers/catalog
    """
    from ninelives_server.integrations.registry import Registry

    if not (name.isascii() and name.isidentifier()) or name != name.lower():
        fail(
            f"{name!r} is no name of an integration: lower-case letters, digits and _, no digit first", USAGE
        )
    if name in Registry.load().names():
        fail(f"there is an integration {name!r} already", USAGE)
    path = directory / f"{name}.toml"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(_SCAFFOLD.format(name=name, title=name.replace("_", " ").title()))
    except FileExistsError:
        fail(f"{path} is there already", USAGE)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}", USAGE)
    out.document(output, {"file": str(path)}, lambda _: click.echo(path))
    out.say(f"change what is in it, then: ninelives integrations check {path}")
