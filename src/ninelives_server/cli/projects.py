"""`deploy`, `project`, `build`, `deployment`, `trigger` and `var`."""

import io
import sys
import tarfile
from pathlib import Path
from typing import Any

import click

from ninelives_server.cli import following
from ninelives_server.cli import output as out
from ninelives_server.cli.client import FAILED, USAGE, connect, fail, segment
from ninelives_server.cli.values import value_of

_SKIPPED = {"__pycache__", "node_modules"}


def bundle(directory: Path) -> bytes:
    """Pack a directory as a gzipped tar, without dotfiles and caches."""
    if not directory.is_dir():
        fail(f"{directory} is no directory", USAGE)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path in sorted(directory.rglob("*")):
            parts = path.relative_to(directory).parts
            if path.is_file() and not any(p.startswith(".") or p in _SKIPPED for p in parts):
                tar.add(path, arcname="/".join(parts), recursive=False)
    return packed.getvalue()


@click.command()
@click.argument("directory", default=".", type=click.Path(path_type=Path))
@click.option("--project", help="deploy under this name instead of the manifest's")
@click.option("--dry-run", is_flag=True, help="say what would change, change nothing")
@click.option(
    "--check",
    is_flag=True,
    help="try it on the journals of running sessions, change nothing; 1 if one differs",
)
@out.option
def deploy(directory: Path, project: str | None, dry_run: bool, check: bool, output: str) -> None:
    """Build DIRECTORY, apply its manifest and activate it, all or nothing."""
    params = {"project": project, "dry_run": dry_run, "check": check}
    result = following.deployed(connect(), bundle(directory), params)
    for warning in result["warnings"]:
        out.say(f"warning: {warning}")

    def show(_: object) -> None:
        if check:
            _show_check(result["check"])
            return
        for action in result["actions"]:
            click.echo(f"- {action}")
        state = "would change" if dry_run and result["changed"] else "deployed"
        click.echo(state if result["changed"] else "nothing changed")

    out.document(output, result, show)
    if check and result["check"]["findings"]:
        raise SystemExit(FAILED)


def _show_check(report: dict[str, Any]) -> None:
    """Print the first place at which each session would part from its journal."""
    for found in report["findings"]:
        place = f" at {found['file']}:{found['line']}" if found["file"] else ""
        step = f", step {found['seq']}" if found["seq"] else ""
        click.echo(f"{found['session_id']}{step}{place}: {found['outcome']}")
        if found["recorded"]:
            click.echo(f"  the journal has  {found['recorded']}")
            click.echo(f"  the code calls   {found['called'] or 'nothing: it ends'}")
        click.echo(f"  {found['message']}")
    good = report["checked"] - len(report["findings"])
    click.echo(f"{good} of {report['checked']} sessions would go on as they are; nothing was changed")
    if report["total"] > report["checked"]:
        click.echo(f"{report['total'] - report['checked']} more were not looked at", err=True)


@click.group()
def project() -> None:
    """Projects."""


@project.command("list")
@out.option
def list_projects(output: str) -> None:
    """List projects."""
    page = connect().call("GET", "/projects")
    out.document(
        output,
        page,
        out.table(("id", "name", "created_at"), "no projects yet; make one with `ninelives init first`"),
    )


@project.command("show")
@click.argument("name")
@out.option
def show_project(name: str, output: str) -> None:
    """Show a project."""
    out.document(output, connect().call("GET", f"/projects/{segment(name)}"), out.fields)


@project.command("create")
@click.argument("name")
@out.option
def create_project(name: str, output: str) -> None:
    """Create a project by hand: a name, no code."""
    out.document(output, connect().call("POST", "/projects", body={"name": name}), out.fields)


@project.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="do not ask")
@out.option
def delete_project(name: str, yes: bool, output: str) -> None:
    """Delete a project with its connections, sessions, events and key."""
    if not yes:
        if not sys.stdin.isatty():
            fail("say --yes to delete a project without being asked", USAGE)
        click.confirm(f"delete project {name!r} and everything in it?", abort=True, err=True)
    connect().call("DELETE", f"/projects/{segment(name)}")
    out.done(output)


@project.command("retention")
@click.argument("name")
@click.option("--sessions", type=int, help="days; 0 is for ever")
@click.option("--events", type=int, help="days; 0 is for ever")
@click.option("--logs", type=int, help="days; 0 is for ever")
@out.option
def retention(name: str, sessions: int | None, events: int | None, logs: int | None, output: str) -> None:
    """Say for how many days finished sessions, events and logs are kept."""
    body = {"sessions": sessions, "events": events, "logs": logs}
    out.document(output, connect().call("PUT", f"/projects/{segment(name)}/retention", body=body), out.fields)


@project.command("concurrency")
@click.argument("name")
@click.argument("limit", type=click.IntRange(min=0))
@out.option
def concurrency(name: str, limit: int, output: str) -> None:
    """Let at most LIMIT sessions be open at once; 0 is any number. What comes in then queues up."""
    body = {"max_concurrent": limit}
    path = f"/projects/{segment(name)}/concurrency"
    out.document(output, connect().call("PUT", path, body=body), out.fields)


@click.group()
def build() -> None:
    """Builds: immutable code bundles."""


@build.command("list")
@click.argument("project")
@out.option
def list_builds(project: str, output: str) -> None:
    """List a project's builds."""
    page = connect().call("GET", f"/projects/{segment(project)}/builds")
    out.document(
        output,
        page,
        out.table(
            ("id", "sha256", "size_bytes", "created_at"), "no builds yet; `ninelives deploy` makes one"
        ),
    )


@build.command("show")
@click.argument("build_id")
@out.option
def show_build(build_id: str, output: str) -> None:
    """Show a build: entry points and resolved requirements."""
    out.document(output, connect().call("GET", f"/builds/{segment(build_id)}"), out.fields)


@click.group()
def deployment() -> None:
    """Deployments: builds in service."""


@deployment.command("list")
@click.argument("project")
@out.option
def list_deployments(project: str, output: str) -> None:
    """List a project's deployments."""
    page = connect().call("GET", f"/projects/{segment(project)}/deployments")
    columns = ("id", "state", "build_id", "state_since")
    out.document(output, page, out.table(columns, "no deployments yet; make one with `ninelives deploy`"))


def _deployment_action(name: str, help_text: str) -> None:
    @deployment.command(name, help=help_text)
    @click.argument("deployment_id")
    @out.option
    def command(deployment_id: str, output: str) -> None:
        out.document(
            output, connect().call("POST", f"/deployments/{segment(deployment_id)}/{name}"), out.fields
        )


_deployment_action("activate", "Give new sessions to this deployment; the one before drains.")
_deployment_action("test", "Let a deployment take the sessions and events that name it, and no others.")
_deployment_action("deactivate", "Give no new sessions to this deployment.")


@deployment.command("delete")
@click.argument("deployment_id")
@out.option
def delete_deployment(deployment_id: str, output: str) -> None:
    """Delete a deployment that is inactive and has no sessions that run."""
    connect().call("DELETE", f"/deployments/{segment(deployment_id)}")
    out.done(output)


@click.group()
def trigger() -> None:
    """Triggers: what starts sessions."""


@trigger.command("list")
@click.argument("project")
@out.option
def list_triggers(project: str, output: str) -> None:
    """List a project's triggers."""
    page = connect().call("GET", f"/projects/{segment(project)}/triggers")
    columns = ("name", "type", "event_type", "call", "webhook_url", "last_error")
    out.document(output, page, out.table(columns, "no triggers; add them to ninelives.yaml and deploy"))


@trigger.command("show")
@click.argument("trigger")
@out.option
def show_trigger(trigger: str, output: str) -> None:
    """Show a trigger (id or PROJECT/NAME): its address, what it listens to, its last error."""
    client = connect()
    out.document(output, client.call("GET", f"/triggers/{client.trigger_id(trigger)}"), out.fields)


@trigger.command("limits")
@click.argument("trigger")
@click.option("--max-concurrent", type=click.IntRange(min=0), help="sessions open at once; 0 is any number")
@click.option("--key", help="CEL, such as data.id: of equal values one at a time; '' is none")
@click.option("--overlap", type=click.Choice(["allow", "skip", "queue one"]), help="while a session is open")
@out.option
def limit_trigger(
    trigger: str, max_concurrent: int | None, key: str | None, overlap: str | None, output: str
) -> None:
    """Change limits of a trigger (id or PROJECT/NAME); what is not named stays as it is.

    They hold until the next deploy, which makes the trigger what the manifest says.
    """
    client = connect()
    body = {"max_concurrent": max_concurrent, "key": key, "overlap": overlap}
    if all(value is None for value in body.values()):
        fail("say what to change: --max-concurrent, --key or --overlap", USAGE)
    path = f"/triggers/{client.trigger_id(trigger)}/limits"
    out.document(output, client.call("PATCH", path, body=body), out.fields)


@click.group()
def var() -> None:
    """Variables: what sessions find in their environment."""


@var.command("set")
@click.argument("project")
@click.argument("name")
@click.argument("value")
@click.option("--secret", is_flag=True, help="write-only; VALUE must be `-`, `@path` or `env:NAME`")
@click.option("--description", default="", help="for people; without it the one that is there stays")
@out.option
def set_variable(*, project: str, name: str, value: str, secret: bool, description: str, output: str) -> None:
    """Set a variable. VALUE is text, `-` (standard input), `@path` or `env:NAME`."""
    body = {
        "value": value_of(value, what=name, secret=secret),
        "is_secret": secret,
        "description": description,
    }
    connect().call("PUT", f"/projects/{segment(project)}/variables/{segment(name)}", body=body)
    out.done(output)


@var.command("list")
@click.argument("project")
@out.option
def list_variables(project: str, output: str) -> None:
    """List a project's variables; secrets are not shown."""
    page = connect().call("GET", f"/projects/{segment(project)}/variables")
    out.document(
        output,
        page,
        out.table(
            ("name", "value", "is_secret", "is_set", "description"),
            "no variables yet; see `ninelives var set`",
        ),
    )


@var.command("delete")
@click.argument("project")
@click.argument("name")
@out.option
def delete_variable(project: str, name: str, output: str) -> None:
    """Delete a variable."""
    connect().call("DELETE", f"/projects/{segment(project)}/variables/{segment(name)}")
    out.done(output)
