"""`event`: what happened, what became of it, and again."""

import json
from typing import Any

import click

from ninelives_server.cli import output as out
from ninelives_server.cli.client import USAGE, connect, fail, segment
from ninelives_server.cli.values import read_json


@click.group()
def event() -> None:
    """Events: stored once each, dispatched to triggers."""


@event.command("list")
@click.argument("project")
@click.option("--limit", default=50, show_default=True)
@out.option
def list_events(project: str, limit: int, output: str) -> None:
    """List a project's events, newest first."""
    page = connect().call("GET", "/events", params={"project": project, "limit": limit})
    out.document(
        output, page, out.table(("id", "event_type", "record_id", "created_at", "dispatch"), "no events yet")
    )


@event.command("show")
@click.argument("event_id")
@out.option
def show_event(event_id: str, output: str) -> None:
    """Show an event with its data, and what each trigger made of it."""
    out.document(output, connect().call("GET", f"/events/{segment(event_id)}"), _show)


def _show(event: Any) -> None:
    """Print the fields, and then a line for each trigger that was looked at."""
    dispatch = event.pop("dispatch")
    out.fields(event)
    if not dispatch:
        click.echo("dispatch     " + ("no trigger wants it" if event["dispatched_at"] else "not yet"))
    for item in dispatch:
        who = item.get("trigger") or item.get("trigger_id") or "by hand"
        outcome, why = (
            item["outcome"].replace("_", " "),
            item.get("error", "").removeprefix("filter failed: "),
        )
        told = " ".join(filter(None, (item.get("session_id"), why and f"({why})")))
        click.echo(f"dispatch     {who}: {outcome}{' ' + told if told else ''}")


@event.command("redispatch")
@click.argument("event_id")
@click.option("--deployment", help="instead of the active one; it must be testing")
@out.option
def redispatch(event_id: str, deployment: str | None, output: str) -> None:
    """Dispatch a copy of a stored event again."""
    again = connect().call(
        "POST", f"/events/{segment(event_id)}/redispatch", body={"deployment_id": deployment}
    )
    out.document(output, again, out.fields)


def _object(text: str) -> Any:
    try:
        value = read_json(text, what="--data")
    except json.JSONDecodeError as error:
        fail(f"--data is not JSON ({error}): {text[:100]!r}", USAGE)
    if not isinstance(value, dict):
        fail(f"--data must be a JSON object, as event.data is; {text[:100]!r} is none", USAGE)
    return value


@event.command("verify-filter")
@click.argument("expression")
@click.option("--data", help="JSON to try it on")
@click.option("--event-type", default="")
@out.option
def verify_filter(expression: str, data: str | None, event_type: str, output: str) -> None:
    """Check a CEL filter over `data` and `event_type`; exit 1 where it is not valid."""
    question = {
        "filter": expression,
        "data": _object(data) if data else None,
        "event_type": event_type,
    }
    answer = connect().call("POST", "/events/verify-filter", body=question)
    out.document(output, answer, out.fields)
    if answer["error"]:
        fail(f"the filter is not valid: {answer['error']}")
