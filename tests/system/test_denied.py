"""An authorisation that its owner denies, from the command line to the provider and back."""

import json
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest

from ninelives_server.testing import running, story
from ninelives_server.testing.person import Person, authorise

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.xdist_group("denied")]

CONNECTION = "leads/crm"


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


def test_a_denied_reauthorisation_exits_1_with_the_providers_reason(tmp_path):
    """
    The connection was ok and stays so; the command that asked for a new authorisation has failed all the same.
    """
    port = story.free_port()
    callback = f"http://localhost:{port}/oauth/redirect/salesforce"
    with running.fake_org(tmp_path / "org", callback=callback) as org:
        facts = org.facts
        env = {"NINELIVES_CA_FILE": facts["ca_file"], "NINELIVES_ALLOW_INSECURE_PROVIDERS": "1"}
        up = running.Up(tmp_path / "data", env=env, port=port, arguments=("--no-worker",))
        try:
            up.start()
            up.cli("project", "create", "leads")
            fields = [
                "--set",
                f"client_id={facts['client_id']}",
                "--set",
                f"environment={facts['login_url']}",
            ]
            create = [
                "connection",
                "create",
                "leads",
                "crm",
                "salesforce",
                *fields,
                "--set",
                "client_secret=-",
            ]
            up.cli(*create, stdin=facts["client_secret"])
            ended = []
            with Person(org.trust()) as person:
                for decision in ("allow", "deny"):
                    with initialising(up) as (process, start):
                        authorise(person, start, facts["username"], facts["password"], decision=decision)
                        out, err = process.communicate(timeout=120)
                        ended.append((process.returncode, json.loads(out)["state"], err))
        finally:
            up.stop()

    (allowed, denied) = ended
    assert allowed[:2] == (0, "ok"), allowed
    assert denied[:2] == (1, "ok"), denied
    assert "end-user denied authorization" in denied[2]
