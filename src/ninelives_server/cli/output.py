"""What commands print: tables for people, or the API's own document with `-o json`.

With `-o json` exactly one JSON document goes to stdout; what is meant for people goes to stderr.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

F = TypeVar("F", bound=Callable[..., Any])


def option(command: F) -> F:
    """Add `-o/--output table|json` to a command."""
    decorate = click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="json prints the API's document unchanged",
    )
    return decorate(command)


def say(text: str) -> None:
    """Say something to a person, on stderr."""
    click.echo(text, err=True)


def document(output: str, value: Any, show: Callable[[Any], None]) -> None:
    """Print a document as JSON, or for a person."""
    if output == "json":
        click.echo(json.dumps(value, ensure_ascii=False))
    else:
        show(value)


def done(output: str) -> None:
    """End a command whose answer has no content: a program that reads JSON gets an empty document."""
    if output == "json":
        click.echo("{}")


def fields(value: Mapping[str, Any]) -> None:
    """Print a document as lines `name  value`, leaving out what is empty."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, item in value.items():
        if item not in (None, "", [], {}):
            text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
            table.add_row(name.replace("_", " "), _plain(text))
    _console().print(table)


def table(columns: Sequence[str], empty: str) -> Callable[[Mapping[str, Any]], None]:
    """Return a printer of a page as a table with these columns; `empty` says the next step."""

    def show(page: Mapping[str, Any]) -> None:
        rows = page["items"]
        if not rows:
            say(empty)
            return
        drawn = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            drawn.add_column(column.replace("_", " ").upper(), overflow="fold", no_wrap=column == "id")
        for row in rows:
            drawn.add_row(*(_cell(row.get(column)) for column in columns))
        _console().print(drawn)

    return show


def _console() -> Console:
    # A pipe has no width: lines must not break where a program or a file reads them.
    return Console() if sys.stdout.isatty() else Console(width=1000)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _plain(text if len(text) <= 200 else f"{text[:197]}…")


def _plain(text: str) -> str:
    # Rich reads [brackets] as markup; user data must not be.
    return text.replace("[", "\\[")
