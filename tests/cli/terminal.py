"""Commands as a person types them: the program's own code against a real server, without a process for each."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from api_site import Site
from click.testing import CliRunner

from ninelives_server.cli.app import cli


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; fails where there is more or less."""
        return json.loads(self.out)


class Terminal:
    """Somebody's shell: the environment and the commands in it."""

    def __init__(self, environment: pytest.MonkeyPatch) -> None:
        self._environment = environment

    def at(self, site: Site, who: str = "admin") -> "Terminal":
        """Speak to a server as somebody."""
        return self.set(NINELIVES_SERVER_URL=site.up.url, NINELIVES_TOKEN=site.tokens[who])

    def set(self, **variables: str) -> "Terminal":
        """Set environment variables."""
        for name, value in variables.items():
            self._environment.setenv(name, value)
        return self

    def __call__(self, *arguments: str, stdin: str = "", code: int = 0) -> Done:
        """Run a command; it must end with this exit code."""
        result = CliRunner().invoke(cli, list(arguments), input=stdin)
        done = Done(result.exit_code, result.stdout, result.stderr)
        assert done.code == code, f"{arguments}: {done}\n{result.exception!r}"
        return done
