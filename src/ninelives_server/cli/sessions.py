"""`session`: start, look, watch, stop, fork."""

import json
from typing import Any

import click

from ninelives_server.cli import following
from ninelives_server.cli import output as out
from ninelives_server.cli.client import FAILED, USAGE, connect, fail, segment
from ninelives_server.cli.values import read_json

_SHOWN = 100  # characters of a value in a message


@click.group()
def session() -> None:
    """Sessions: runs of an entry point."""


def _inputs(pairs: tuple[str, ...]) -> dict[str, Any]:
    inputs = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            fail(f"{pair!r} is not KEY=JSON", USAGE)
        try:
            inputs[key] = read_json(text, what=f"the value of {key!r}")
        except json.JSONDecodeError:
            shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
            fail(
                f"the value of {key!r} is not JSON: {shown!r}; a text needs quotes: {key}='\"{shown}\"'",
                USAGE,
            )
    return inputs


@session.command("start")
@click.argument("project")
@click.argument("entrypoint")
@click.option("-i", "--input", "pairs", multiple=True, metavar="KEY=JSON", help="part of event.data")
@click.option("--durable/--no-durable", default=False, show_default=True, help="journal it, so it survives")
@click.option("--deployment", help="instead of the active one; it must be testing")
@click.option("--wait", is_flag=True, help="wait for its end; exit 1 unless it completed")
@out.option
def start(
    project: str,
    entrypoint: str,
    pairs: tuple[str, ...],
    durable: bool,
    deployment: str | None,
    wait: bool,
    output: str,
) -> None:
    """Start a session of ENTRYPOINT (FILE.py:FUNC) without an event."""
    client = connect()
    document = client.call(
        "POST",
        f"/projects/{segment(project)}/sessions",
        body={
            "entrypoint": entrypoint,
            "inputs": _inputs(pairs),
            "is_durable": durable,
            "deployment_id": deployment,
        },
    )
    if wait:
        out.say(f"session {document['id']} started")
        document = following.until_the_end(client, document["id"])
    out.document(output, document, out.fields)
    if wait and document["state"] != "completed":
        raise SystemExit(FAILED)


@session.command("list")
@click.argument("project", required=False)
@click.option(
    "--state", type=click.Choice(["created", "running", "waiting", "completed", "error", "stopped"])
)
@click.option("--record", "record_id", help="of the record whose event started it")
@click.option("--limit", default=50, show_default=True)
@out.option
def list_sessions(
    project: str | None, state: str | None, record_id: str | None, limit: int, output: str
) -> None:
    """List sessions, newest first."""
    page = connect().call(
        "GET",
        "/sessions",
        params={"project": project, "state": state, "record_id": record_id, "limit": limit},
    )
    columns = ("id", "state", "entrypoint", "is_durable", "created_at", "ended_at", "queue_reason")
    out.document(
        output, page, out.table(columns, "no sessions yet; start one with `ninelives session start`")
    )


@session.command("show")
@click.argument("session_id")
@out.option
def show(session_id: str, output: str) -> None:
    """Show a session with its result or error."""
    out.document(output, connect().call("GET", f"/sessions/{segment(session_id)}"), out.fields)


@session.command("logs")
@click.argument("session_id")
@click.option(
    "--follow", "-f", is_flag=True, help="go on until it has ended (with -o json: a document a line)"
)
@out.option
def logs(session_id: str, follow: bool, output: str) -> None:
    """Print exactly what user code printed."""
    if follow:
        following.follow_logs(connect(), session_id, output)
        return
    items = connect().pages(f"/sessions/{segment(session_id)}/logs", by="after")
    if output == "json":
        click.echo(json.dumps({"items": items, "next_cursor": None}, ensure_ascii=False))
        return
    for item in items:
        click.echo(item["text"], nl=False)


@session.command("steps")
@click.argument("session_id")
@out.option
def steps(session_id: str, output: str) -> None:
    """Print the journal: steps, waits and values in the order of their commits."""
    items = connect().pages(f"/sessions/{segment(session_id)}/steps", by="after")
    columns = ("seq", "strand", "kind", "name", "status", "attempt", "started_at", "ended_at", "preview")
    page = {"items": items, "next_cursor": None}
    out.document(output, page, out.table(columns, "no steps yet"))


@session.command("stop")
@click.argument("session_id")
@click.option("--reason", default="")
@click.option("--grace", default=10.0, show_default=True, help="seconds until it is killed")
@click.option("--kill", is_flag=True, help="do not ask first")
@out.option
def stop(session_id: str, reason: str, grace: float, kill: bool, output: str) -> None:
    """Ask a session to stop; kill it when the grace is over."""
    body = {"reason": reason, "grace": grace, "kill": kill}
    out.document(
        output, connect().call("POST", f"/sessions/{segment(session_id)}/stop", body=body), out.fields
    )


@session.command("fork")
@click.argument("session_id")
@click.option(
    "--from-step", type=click.IntRange(min=1), required=True, help="`seq` of the step to begin with"
)
@click.option("--build", default="same", show_default=True, help="`same`, `newest`, or the id of a build")
@out.option
def fork(session_id: str, from_step: int, build: str, output: str) -> None:
    """Start a session that has done what this one did before a step, and goes on from there."""
    body = {"from_step": from_step, "build": build}
    out.document(
        output, connect().call("POST", f"/sessions/{segment(session_id)}/fork", body=body), out.fields
    )


@session.command("watch")
@click.argument("session_id")
@out.option
def watch(session_id: str, output: str) -> None:
    """Print the session at each change until it has ended (with -o json: a document a line)."""
    following.watch(connect(), session_id, output)
