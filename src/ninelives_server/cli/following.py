"""A session as it runs, told to a person or a program: its states, what uv says, what its code prints."""

import json
from collections.abc import Mapping
from typing import Any

import click

from ninelives_server.cli import output as out
from ninelives_server.cli.client import Client, segment

_TERMINAL = {"completed", "error", "stopped"}
#: As much of the text shown last is looked for in a text whose beginning was cut off. characters
_OVERLAP = 500


class Environment:
    """Says what uv says while it resolves or makes an environment, each line once, on stderr."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, document: Mapping[str, Any]) -> None:
        """Say what is new in a session's document."""
        self.add(str(document.get("environment_log") or ""))

    def add(self, text: str) -> None:
        """Say what is new in all that uv has said."""
        for line in _news(self._shown, text).splitlines():
            out.say(f"  uv: {line}")
        self._shown = text or self._shown


def _news(shown: str, text: str) -> str:
    """Return what a text has behind what was shown of it before."""
    if text.startswith(shown):
        return text[len(shown) :]
    end = shown[-_OVERLAP:]
    at = text.rfind(end)
    return text if at < 0 else text[at + len(end) :]


def until_the_end(client: Client, session_id: str) -> Any:
    """Follow a session until it has ended, and return its document; streams end when the server restarts."""
    path, environment = f"/sessions/{segment(session_id)}", Environment()
    document = client.call("GET", path)
    while document["state"] not in _TERMINAL:
        for document in client.stream(f"{path}/watch"):
            environment.show(document)
        document = client.call("GET", path)
    return document


def watch(client: Client, session_id: str, output: str) -> None:
    """Print a session at each change until it has ended; for people, only changes of its state."""
    environment, last = Environment(), ""
    for document in client.stream(f"/sessions/{segment(session_id)}/watch"):
        if output == "json":
            click.echo(json.dumps(document, ensure_ascii=False))
            continue
        line = f"{document['state_since']}  {document['state']}"
        if document["queue_reason"]:
            line += f"  {document['queue_reason']}"
        if line != last:
            click.echo(line)
        last = line
        environment.show(document)


def follow_logs(client: Client, session_id: str, output: str) -> None:
    """Print what user code prints, as it prints it, until the session has ended."""
    path, seq = f"/sessions/{segment(session_id)}", 0
    while True:
        state = client.call("GET", path)["state"]
        for item in client.stream(f"{path}/logs/watch?after={seq}"):
            seq = item["seq"]
            if output == "json":
                click.echo(json.dumps(item, ensure_ascii=False))
            else:
                click.echo(item["text"], nl=False)
        if state in _TERMINAL:  # before the stream began, so the stream had all of it
            return
