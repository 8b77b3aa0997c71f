"""`store`: a project's key-value data."""

import json
from typing import Any
from urllib.parse import quote

import click

from ninelives_server.cli import output as out
from ninelives_server.cli.client import connect, segment
from ninelives_server.cli.values import read_json, value_of


@click.group()
def store() -> None:
    """The store: a project's key-value data, shared by its sessions."""


def _path(project: str, key: str) -> str:
    return f"/projects/{segment(project)}/store/{quote(key)}"


@store.command("list")
@click.argument("project")
@out.option
def list_keys(project: str, output: str) -> None:
    """List the keys of a project's store."""
    page = connect().call("GET", f"/projects/{segment(project)}/store")
    out.document(output, page, out.table(("key", "is_published", "updated_at"), "the store is empty"))


def _show(document: Any) -> None:
    value = document["value"]
    click.echo(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


@store.command("get")
@click.argument("project")
@click.argument("key")
@out.option
def get_value(project: str, key: str, output: str) -> None:
    """Print a value: text as it is, anything else as JSON."""
    out.document(output, connect().call("GET", _path(project, key)), _show)


@store.command("set")
@click.argument("project")
@click.argument("key")
@click.argument("value")
@click.option("--text", is_flag=True, help="do not read the value as JSON")
@out.option
def set_value(project: str, key: str, value: str, text: bool, output: str) -> None:
    """Store VALUE: JSON, or text where it is none; `-` reads it, `@path` and `env:NAME` say where it is."""
    given = value_of(value, what="value", secret=False)
    connect().call("PUT", _path(project, key), body={"value": given if text else _parsed(given, key)})
    out.say(f"{key} is set")
    out.done(output)


def _parsed(text: str, key: str) -> Any:
    try:
        return read_json(text, what=f"the value of {key!r}")
    except json.JSONDecodeError:
        return text


@store.command("delete")
@click.argument("project")
@click.argument("key")
@out.option
def delete_value(project: str, key: str, output: str) -> None:
    """Delete a value."""
    connect().call("DELETE", _path(project, key))
    out.say(f"{key} is deleted")
    out.done(output)


@store.command("publish")
@click.argument("project")
@click.argument("key")
@click.option("--off", is_flag=True, help="take it back")
@out.option
def publish_value(project: str, key: str, off: bool, output: str) -> None:
    """Let everybody read a value at its address, which is printed."""
    path = f"/projects/{segment(project)}/published-values/{quote(key)}"
    document = connect().call("PUT", path, body={"is_published": not off})
    out.document(output, document, lambda found: click.echo(found["url"] or "not published any more"))
