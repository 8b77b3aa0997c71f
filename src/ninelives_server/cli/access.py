"""`login` and `token`."""

import json
import webbrowser

import click

from ninelives_server.cli import output as out
from ninelives_server.cli.client import connect, segment


@click.command()
@click.option("--web", is_flag=True, help="make a one-time link with which USER logs in to the pages")
@click.argument("user", required=False)
@click.option("--open", "open_browser", is_flag=True, help="open the link in this machine's browser")
@out.option
def login(web: bool, user: str | None, open_browser: bool, output: str) -> None:
    """Show who you are; with --web, print a login link (10 minutes, good for one login)."""
    client = connect()
    if not web:
        out.document(output, client.call("GET", "/whoami"), out.fields)
        return
    link = client.call("POST", "/login-links", body={"user": user})
    if output == "json":
        click.echo(json.dumps(link))
    else:
        click.echo(link["url"])
    if open_browser:
        webbrowser.open(link["url"])


@click.group()
def token() -> None:
    """Tokens for programs and workers."""


@token.command("create")
@click.argument("name")
@click.option("--scope", type=click.Choice(["all", "read", "worker"]), default="all", show_default=True)
@out.option
def create_token(name: str, scope: str, output: str) -> None:
    """Make a token and print it, this once."""
    made = connect().call("POST", "/tokens", body={"name": name, "scopes": [scope]})
    click.echo(json.dumps(made) if output == "json" else made["token"])


@token.command("list")
@out.option
def list_tokens(output: str) -> None:
    """List your org's tokens."""
    page = connect().call("GET", "/tokens")
    out.document(
        output, page, out.table(("id", "name", "kind", "scopes", "last_used_at", "expires_at"), "no tokens")
    )


@token.command("revoke")
@click.argument("token_id")
@out.option
def revoke_token(token_id: str, output: str) -> None:
    """Make a token useless at once."""
    connect().call("DELETE", f"/tokens/{segment(token_id)}")
    out.done(output)
