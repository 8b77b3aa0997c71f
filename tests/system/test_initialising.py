"""Authorisations from the command line to the provider and back: denied ones, and one across an outage."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from ninelives_server.testing import running, story
from ninelives_server.testing.person import Person, authorise

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.xdist_group("initialising")]

CONNECTION = "leads/crm"


class Stage(NamedTuple):
    """A server with a connection that nobody has authorised yet, and who may do so at the provider."""

    up: running.Up
    person: Person
    username: str
    password: str

    def authorise(self, start: dict[str, str], decision: str = "allow") -> None:
        """Go through the pages from the address that the command printed."""
        authorise(self.person, start, self.username, self.password, decision=decision)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    port = story.free_port()
    callback = f"http://localhost:{port}/oauth/redirect/salesforce"
    with running.fake_org(tmp_path / "org", callback=callback) as org, Person(org.trust()) as person:
        facts = org.facts
        env = {"NINELIVES_CA_FILE": facts["ca_file"], "NINELIVES_ALLOW_INSECURE_PROVIDERS": "1"}
        up = running.Up(tmp_path / "data", env=env, port=port, arguments=("--no-worker",))
        try:
            up.start()
            up.cli("project", "create", "leads")
            fields = [
                f"client_id={facts['client_id']}",
                f"environment={facts['login_url']}",
                "client_secret=-",
            ]
            words = ["connection", "create", "leads", "crm", "salesforce"]
            up.cli(
                *words, *(word for field in fields for word in ("--set", field)), stdin=facts["client_secret"]
            )
            yield Stage(up, person, facts["username"], facts["password"])
        finally:
            up.stop()


@contextmanager
def initialising(up: running.Up):
    """Run `connection init`, and yield it with the address and the short code that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ninelives_server", "connection", "init", CONNECTION, "-o", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=running.environment({"NINELIVES_DATA_DIR": str(up.data_dir)}),
    )
    try:
        said = ""
        while "waiting" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        yield process, {"url": re.search(r"http\S+", said)[0], "code": re.search(r"code: (\S+)", said)[1]}
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_a_denied_reauthorisation_exits_1_with_the_providers_reason(stage: Stage):
    """
    The connection was ok and stays so; the command that asked for a new authorisation has failed all the same.
    """
    ended = []
    for decision in ("allow", "deny"):
        with initialising(stage.up) as (process, start):
            stage.authorise(start, decision)
            out, err = process.communicate(timeout=120)
            ended.append((process.returncode, json.loads(out)["state"], err))

    (allowed, denied) = ended
    assert allowed[:2] == (0, "ok"), allowed
    assert denied[:2] == (1, "ok"), denied
    assert "end-user denied authorization" in denied[2]


def test_who_waits_for_an_authorisation_stays_when_the_server_is_killed(stage: Stage):
    """
    The break and its end are said on stderr; the address that was printed before is good after it.
    """
    with initialising(stage.up) as (process, start):
        stage.up.kill()
        broke = process.stderr.readline()
        stage.up.start()
        again = process.stderr.readline()
        stage.authorise(start)
        out, err = process.communicate(timeout=120)

    assert broke.strip().endswith("; trying again for 60 s")
    assert again == "connected again\n"
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["state"] == "ok"
