"""`connection` and `integrations`."""

import json
import sys
import time
from typing import Any

import click

from ninelives_server.cli import output as out
from ninelives_server.cli.client import FAILED, USAGE, Client, connect, fail
from ninelives_server.cli.patience import Patience, lasting
from ninelives_server.cli.values import value_of


@click.group()
def connection() -> None:
    """Connections: authorised accounts, each with its owner's own OAuth app."""


def _integration(client: Client, name: str) -> Any:
    found = {item["name"]: item for item in client.call("GET", "/integrations")["items"]}
    for item in found.values():
        if name in {item["name"], *item["aliases"]}:
            return item
    names = ", ".join(found)
    return fail(f"there is no integration {name!r}; there are: {names}", USAGE)


def _fields(
    client: Client, integration: str, mode: str | None, pairs: tuple[str, ...]
) -> tuple[dict[str, str], dict[str, str]]:
    """Split FIELD=VALUE pairs into settings and secrets, by the integration's own description."""
    modes = _integration(client, integration)["auth_modes"]
    chosen = next((m for m in modes if mode in (None, m["name"])), None)
    if chosen is None:
        fail(f"{integration} has no auth mode {mode!r}; it has: {', '.join(m['name'] for m in modes)}", USAGE)
    kinds = {field["name"]: field["kind"] for field in chosen["fields"]}
    settings: dict[str, str] = {}
    secrets: dict[str, str] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            fail(f"{pair!r} is not FIELD=VALUE", USAGE)
        if name not in kinds:
            fail(f"{integration} has no field {name!r}; it has: {', '.join(kinds)}", USAGE)
        is_secret = kinds[name] == "secret"
        (secrets if is_secret else settings)[name] = value_of(text, what=name, secret=is_secret)
    return settings, secrets


def _say_callback(client: Client, integration: str) -> None:
    """Tell which callback the app at the provider must have; it goes to stderr, as all that people read."""
    found = _integration(client, integration)
    if not any(mode["uses_oauth"] for mode in found["auth_modes"]):
        return
    out.say(f"callback URL to enter in your app: {found['callback_url']}")
    if found["callback_warning"]:
        out.say(f"warning: {found['callback_warning']}")


_set = click.option(
    "--set", "pairs", multiple=True, metavar="FIELD=VALUE", help="VALUE: text, `-`, `@path`, `env:NAME`"
)


@connection.command("create")
@click.argument("project")
@click.argument("name")
@click.argument("integration")
@click.option("--auth-mode", help="default: the integration's first")
@_set
@out.option
def create(
    project: str, name: str, integration: str, auth_mode: str | None, pairs: tuple[str, ...], output: str
) -> None:
    """Create a connection, such as `create sales crm salesforce --set client_id=… --set client_secret=-`."""
    client = connect()
    settings, secrets = _fields(client, integration, auth_mode, pairs)
    made = client.call(
        "POST",
        "/connections",
        body={
            "project": project,
            "name": name,
            "integration": integration,
            "auth_mode": auth_mode,
            "settings": settings,
            "secrets": secrets,
        },
    )
    if made["state"] == "init_required":
        _say_callback(client, integration)
    out.say(f"authorise it with: ninelives connection init {project}/{name}")
    out.document(output, made, out.fields)


@connection.command("list")
@click.argument("project", required=False)
@out.option
def list_connections(project: str | None, output: str) -> None:
    """List connections and how they fare."""
    page = connect().call("GET", "/connections", params={"project": project})
    columns = ("id", "name", "integration", "state", "state_since", "reason")
    out.document(output, page, out.table(columns, "no connections yet; see `ninelives connection create`"))


@connection.command("show")
@click.argument("connection")
@out.option
def show(connection: str, output: str) -> None:
    """Show a connection (id or PROJECT/NAME)."""
    client = connect()
    found = client.call("GET", f"/connections/{client.connection_id(connection)}")
    if found["state"] != "ok":
        _say_callback(client, found["integration"])
    out.document(output, found, out.fields)


@connection.command("edit")
@click.argument("connection")
@click.option("--name", help="a new name")
@click.option("--auth-mode", help="of a connection that was never set up; others keep theirs")
@_set
@out.option
def edit(
    connection: str, name: str | None, auth_mode: str | None, pairs: tuple[str, ...], output: str
) -> None:
    """Edit a connection; what is not given, secrets included, is kept."""
    client = connect()
    connection_id = client.connection_id(connection)
    now = client.call("GET", f"/connections/{connection_id}")
    settings, secrets = _fields(client, now["integration"], auth_mode or now["auth_mode"], pairs)
    body = {"name": name, "auth_mode": auth_mode, "settings": settings, "secrets": secrets}
    out.document(output, client.call("PATCH", f"/connections/{connection_id}", body=body), out.fields)


@connection.command("init")
@click.argument("connection")
@click.option("--no-wait", is_flag=True, help="print the address and do not wait for the outcome")
@_set
@out.option
def init(connection: str, no_wait: bool, pairs: tuple[str, ...], output: str) -> None:
    """Authorise a connection in a browser: prints the address and waits; exit 1 unless it is ok.

    A connection that a manifest brought has no app yet: enter it on the way, with --set client_id=…
    --set client_secret=-.
    """
    client = connect()
    connection_id = client.connection_id(connection)
    now = client.call("GET", f"/connections/{connection_id}")
    if pairs:
        settings, secrets = _fields(client, now["integration"], now["auth_mode"], pairs)
        client.call("PATCH", f"/connections/{connection_id}", body={"settings": settings, "secrets": secrets})
    if not now["secrets_set"]:
        _say_callback(client, now["integration"])
    start = client.call("POST", f"/connections/{connection_id}/authorise")
    if no_wait:
        shown = {name: start[name] for name in ("url", "code", "expires_at")}
        if output == "json":
            click.echo(json.dumps(shown))
        else:
            out.fields(shown)
        return
    out.say(f"open this address in a browser within ten minutes:\n\n  {start['url']}\n")
    out.say(f"it may ask for this code: {start['code']}\n\nwaiting …")
    is_done = _await_flow(client, start["flow_id"])
    document = lasting(lambda _: client.call("GET", f"/connections/{connection_id}"), Patience(has_met=True))
    out.document(output, document, out.fields)
    if not is_done or document["state"] != "ok":
        raise SystemExit(FAILED)


def _await_flow(client: Client, flow_id: str) -> bool:
    """Wait for the end of an authorisation; say whether it went well, and where it did not, why.

    A connection that was ok before stays so when a new authorisation is denied; that one has failed.
    """
    patience = Patience(has_met=True)

    def look(patience: Patience) -> Any:
        flow = client.call("GET", f"/flows/{flow_id}")
        patience.reached()
        return flow

    while True:
        flow = lasting(look, patience)
        if flow["status"] in {"done", "failed", "expired"}:
            outcome = flow["outcome"] or {}
            is_done: bool = flow["status"] == "done"
            if not is_done:
                out.say(outcome.get("title", "the authorisation was not finished in time"))
                words = outcome.get("provider_words", "")
                said = f"the provider said: {words}" if words else ""
                for line in [outcome.get("message", ""), said, *outcome.get("next_steps", [])]:
                    if line:
                        out.say(f"  {line}")
            return is_done
        time.sleep(0.5)


def _action(name: str, method: str, path: str, help_text: str) -> None:
    @connection.command(name, help=help_text)
    @click.argument("connection")
    @out.option
    def command(connection: str, output: str) -> None:
        client = connect()
        answer = client.call(method, f"/connections/{client.connection_id(connection)}/{path}")
        out.document(output, answer, out.fields)
        if answer.get("ok") is False:
            raise SystemExit(FAILED)


_action("test", "POST", "test", "Call the provider once; exit 1 where it does not work.")
_action("refresh", "POST", "refresh", "Refresh the access token now.")
_action("revoke", "POST", "revoke", "Disconnect: revoke the grant at the provider; settings stay.")


@connection.command("doctor")
@click.argument("connection")
@out.option
def doctor(connection: str, output: str) -> None:
    """Run every check that the integration has; exit 1 where one fails."""
    client = connect()
    page = client.call("GET", f"/connections/{client.connection_id(connection)}/doctor")
    out.document(output, page, out.table(("status", "name", "message", "next_step"), "no checks"))
    if any(check["status"] == "failed" for check in page["items"]):
        raise SystemExit(FAILED)


@connection.command("delete")
@click.argument("connection")
@click.option("--keep-grant", is_flag=True, help="do not revoke at the provider")
@click.option("--yes", is_flag=True, help="do not ask")
@out.option
def delete(connection: str, keep_grant: bool, yes: bool, output: str) -> None:
    """Delete a connection; its grant is revoked at the provider."""
    if not yes:
        if not sys.stdin.isatty():
            fail("say --yes to delete a connection without being asked", USAGE)
        click.confirm(f"delete connection {connection!r}?", abort=True, err=True)
    client = connect()
    path = f"/connections/{client.connection_id(connection)}"
    report = client.call("DELETE", path, params={"keep_grant": keep_grant})
    out.document(output, report, out.fields)


@click.group()
def integrations() -> None:
    """Integrations: the kinds of services that connections are for."""


@integrations.command("list")
@out.option
def list_integrations(output: str) -> None:
    """List the integrations."""
    page = connect().call("GET", "/integrations")
    out.document(output, page, out.table(("name", "title", "callback_url", "docs_url"), "none"))
