"""Write the reference pages that are made from the code: commands, the OpenAPI document, the schema.

`make reference` runs it; tests compare what it would write with what is committed.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import click
from fastapi import FastAPI

from ninelives_server.api import app as api_app
from ninelives_server.cli.app import cli
from ninelives_server.projects import manifest

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"


def commands(
    command: click.Command, name: str = "ninelives", parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the name and the help text of a command and of those below it."""
    settings = {"max_content_width": 100, **command.context_settings}
    context = click.Context(command, info_name=name, parent=parent, terminal_width=100, **settings)
    if not command.hidden:
        yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for inner in sorted(command.commands):
            yield from commands(command.commands[inner], inner, context)


#: A row of the table: code, what it says, instances.
_ROWS = (
    ("0", "done", ["also with warnings"]),
    (
        "1",
        "the thing itself failed",
        [
            "`deploy` (`--dry-run`, `--check`) and `project lint`: the manifest or another file is refused",
            "`deploy --check`: a running session would part from its journal",
            "`session start --wait`: the session has not completed",
            "`connection test`, `connection init`: the account does not work",
            "`doctor`: something must be put right",
            "a name that is taken",
        ],
    ),
    (
        "2",
        "usage: what was typed cannot be meant so",
        [
            "an option that there is not, a directory that is none, a value that is no JSON",
            "`--project` with a name that no project can have",
            "a setting with a wrong value",
        ],
    ),
    ("3", "there is no such thing", ["a project or session that is not there, or not yours to see"]),
    (
        "4",
        "no server, or not allowed",
        ["no server answers", "a token that is not valid", "a role too small"],
    ),
)
EXIT_CODES = "\n".join(
    [
        "## Exit codes\n\nAll commands have the same.\n",
        "| code | what it says | for instance |",
        "|---|---|---|",
        *(f"| {code} | {meaning} | {'; '.join(instances)} |" for code, meaning, instances in _ROWS),
        "",
    ]
)


def cli_page() -> str:
    """Return docs/reference/cli.md."""
    parts = [
        "# Commands",
        "",
        "Made from the program by `make reference`. A thing is named by its id or by `PROJECT/NAME`. With",
        "`-o json` a command prints exactly one JSON document on stdout (`watch`: one a line); what is meant",
        "for people goes to stderr.",
        "No secret is taken from a command's arguments: use `-` (standard input), `@path` or `env:NAME`.",
        "",
        EXIT_CODES,
    ]
    for name, text in commands(cli):
        parts += [f"## {name}", "", "```text", text.replace("\b", "").rstrip(), "```", ""]
    return "\n".join(parts)


def openapi() -> str:
    """Return docs/reference/openapi.json."""
    app = FastAPI(title="Ninelives", version="1")
    app.include_router(api_app.router)
    return json.dumps(app.openapi(), indent=1, sort_keys=True) + "\n"


def manifest_schema() -> str:
    """Return docs/reference/ninelives.schema.json."""
    return json.dumps(manifest.schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (REFERENCE / "cli.md").write_text(cli_page(), encoding="utf-8")
    (REFERENCE / "ninelives.schema.json").write_text(manifest_schema(), encoding="utf-8")
    (REFERENCE / "openapi.json").write_text(openapi(), encoding="utf-8")
