"""A session as it runs, told to a person or a program: its states, what uv says, what its code prints."""

import json
from collections.abc import Mapping
from typing import Any

import click

from ninelives_server.cli import output as out
from ninelives_server.cli.client import Client, segment
from ninelives_server.cli.patience import Patience, lasting

_TERMINAL = {"completed", "error", "stopped"}
#: What uv asks an index for: thousands of lines for a large set, of which each package is chosen in one.
_ASKING = ("Searching for ", "Sending ")
#: As much of the text shown last is looked for in a text whose beginning was cut off. characters
_OVERLAP = 500


class Environment:
    """Says on stderr what uv says while it resolves or makes an environment: what it chooses, each line once.

    What it asks for is said of the last request alone, for which it may have to wait; all of it is kept with
    the build (`ninelives build show`).
    """

    def __init__(self) -> None:
        self._shown = ""
        self._said: set[str] = set()

    def show(self, document: Mapping[str, Any]) -> None:
        """Say what is new in a session's document."""
        self.add(str(document.get("environment_log") or ""))

    def add(self, text: str) -> None:
        """Say what is new in all that uv has said."""
        lines = _news(self._shown, text).splitlines()
        for line in lines:
            is_done = line.startswith(_ASKING) and line is not lines[-1]
            if line not in self._said and not is_done:
                self._said.add(line)
                out.say(f"  uv: {line}")
        self._shown = text or self._shown


def _news(shown: str, text: str) -> str:
    """Return what a text has behind what was shown of it before."""
    if text.startswith(shown):
        return text[len(shown) :]
    end = shown[-_OVERLAP:]
    at = text.rfind(end)
    return text if at < 0 else text[at + len(end) :]


def deployed(client: Client, content: bytes, params: Mapping[str, object]) -> Any:
    """Deploy, saying what uv says; again where the connection breaks, which changes nothing twice."""

    def attempt(patience: Patience) -> Any:
        environment = Environment()

        def said(text: str) -> None:
            patience.reached()
            environment.add(text)

        return client.deploy(content, params=params, said=said)

    return lasting(attempt)


def until_the_end(client: Client, session_id: str) -> Any:
    """Follow a session until it has ended, and return its document; streams end when the server restarts."""
    path, environment = f"/sessions/{segment(session_id)}", Environment()

    def attempt(patience: Patience) -> Any:
        while True:
            document = client.call("GET", path)
            patience.reached()
            if document["state"] in _TERMINAL:
                return document
            for document in client.stream(f"{path}/watch"):
                patience.reached()
                environment.show(document)

    return lasting(attempt, Patience(has_met=True))


def watch(client: Client, session_id: str, output: str) -> None:
    """Print a session at each change until it has ended; for people, only changes of its state."""
    shown = _Shown(output)

    def attempt(patience: Patience) -> None:
        while shown.state not in _TERMINAL:
            for document in client.stream(f"/sessions/{segment(session_id)}/watch"):
                patience.reached()
                shown.add(document)

    lasting(attempt)


class _Shown:
    """What has been shown of a session: a stream that is begun anew says again how it stands."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._environment = Environment()
        self._last: Mapping[str, Any] = {}
        self._line = ""

    @property
    def state(self) -> str:
        """The state shown last; empty before the first."""
        return str(self._last.get("state", ""))

    def add(self, document: Mapping[str, Any]) -> None:
        """Print a document, where it says something new."""
        if document == self._last:
            return
        self._last = document
        if self._output == "json":
            click.echo(json.dumps(document, ensure_ascii=False))
            return
        line = f"{document['state_since']}  {document['state']}"
        if document["queue_reason"]:
            line += f"  {document['queue_reason']}"
        if line != self._line:
            click.echo(line)
        self._line = line
        self._environment.show(document)


def follow_logs(client: Client, session_id: str, output: str) -> None:
    """Print what user code prints, as it prints it, until the session has ended."""
    path, seq = f"/sessions/{segment(session_id)}", 0

    def attempt(patience: Patience) -> None:
        nonlocal seq
        while True:
            state = client.call("GET", path)["state"]
            patience.reached()
            for item in client.stream(f"{path}/logs/watch?after={seq}"):
                patience.reached()
                seq = item["seq"]
                if output == "json":
                    click.echo(json.dumps(item, ensure_ascii=False))
                else:
                    click.echo(item["text"], nl=False)
            if state in _TERMINAL:  # before the stream began, so the stream had all of it
                return

    lasting(attempt)
