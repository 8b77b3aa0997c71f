"""The command: one line of JSON, ports, files, signals, and mistakes."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from click.testing import CliRunner

from ninelives_server.providers.salesforce.pb import pubsub_api_pb2 as pb
from ninelives_server.providers.salesforce.pb import pubsub_api_pb2_grpc as pb_grpc
from ninelives_server.testing.fake_salesforce.command import command
from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce

KEYS = [
    "login_url", "instance_url", "pubsub_endpoint", "ca_file", "org_id", "client_id", "client_secret",
    "username", "password", "control_url",
]  # fmt: skip


def _start(*options: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "ninelives_server.testing.fake_salesforce", *options]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_line_is_one_json_object_and_signals_end_it(number: signal.Signals, tmp_path: Path) -> None:
    """
    A program reads one line and knows everything; a signal ends the org with status 0 and no noise.
    """
    process = _start("--dir", str(tmp_path))
    assert process.stdout
    details = json.loads(process.stdout.readline())

    with httpx2.Client(verify=_trusting(details["ca_file"]), trust_env=False) as client:
        versions = client.get(f"{details['instance_url']}/services/data/").json()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)

    assert list(details) == KEYS
    assert versions[-1] == {"label": "Summer '26", "url": "/services/data/v67.0", "version": "67.0"}
    assert (process.returncode, out, err) == (0, "", "")


def _trusting(ca_file: str) -> Any:
    import ssl

    return ssl.create_default_context(cafile=ca_file)


def test_the_authority_is_used_again(tmp_path: Path) -> None:
    """
    Who trusted the directory's authority once trusts the next start, too; the org itself is a new one.
    """
    with FakeSalesforce.start(directory=tmp_path) as first:
        before, org_id = first.ca_file.read_bytes(), first.details.org_id
    with FakeSalesforce.start(directory=tmp_path) as second:
        after = second.ca_file.read_bytes()

        assert second.details.org_id != org_id
    assert before == after
    assert (tmp_path / "ca-key.pem").stat().st_mode & 0o777 == 0o600


def test_another_host_name_is_in_the_urls_and_the_certificate() -> None:
    """
    With its own name the org is another site for a browser.
    """
    with FakeSalesforce.start(host_name="org.fake-salesforce.test") as org:
        url = org.details.login_url
        context = _trusting(org.details.ca_file)
        with (
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname="org.fake-salesforce.test") as tls,
        ):
            names = {name for _, name in tls.getpeercert()["subjectAltName"]}

    assert url.startswith("https://org.fake-salesforce.test:")
    assert {
        "org.fake-salesforce.test",
        "localhost",
        "login.salesforce.com",
        "api.pubsub.salesforce.com",
    } <= names


def test_a_bad_callback_and_an_unknown_switch_are_usage_errors() -> None:
    """
    Mistakes are explained, with exit code 2.
    """
    callback = CliRunner().invoke(command, ["--callback", "http://10.0.0.1/x"])
    switch = CliRunner().invoke(command, ["--behaviour", "nothing=1"])

    assert (callback.exit_code, switch.exit_code) == (2, 2)
    assert "http://10.0.0.1/x: use a secure (https) URL" in callback.output
    assert "no switch 'nothing'" in switch.output


def test_a_taken_port_is_an_error() -> None:
    """
    The org does not start on a port that somebody else has.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = CliRunner().invoke(command, ["--port", str(taken.getsockname()[1])])

    assert result.exit_code == 1
    assert "could not start" in result.output


def test_an_org_in_a_process_of_its_own_works_the_same() -> None:
    """
    Options reach the process, and its control speaks HTTP.
    """
    with FakeSalesforce.spawn(http_port=0) as org:
        lead = org.control.create_record(entity="Lead", fields={"LastName": "Doe", "Company": "Acme"})

        assert str(org.http_url).startswith("http://localhost:")
        assert org.control.record(entity="Lead", record_id=lead)


async def test_an_asyncio_client_reads_events_in_the_same_process() -> None:
    """
    The org serves from threads, so a reader on this test's event loop gets its events.
    """
    async with FakeSalesforce.start() as org:
        token = org.control.issue_token()
        org.control.select_entities(["Lead"])
        metadata = (
            ("accesstoken", token["access_token"]), ("instanceurl", token["instance_url"]),
            ("tenantid", token["org_id"]),
        )  # fmt: skip
        credentials = grpc.ssl_channel_credentials(org.ca_file.read_bytes())
        async with grpc.aio.secure_channel(org.details.pubsub_endpoint, credentials) as channel:
            stream = pb_grpc.PubSubStub(channel).Subscribe(metadata=metadata)
            await stream.write(
                pb.FetchRequest(topic_name="/data/LeadChangeEvent", num_requested=5, replay_preset=1)
            )
            org.control.create_record("Lead", {"LastName": "Doe", "Company": "Acme"})
            response = await stream.read()

            assert len(response.events) == 1
            assert response.pending_num_requested == 4
            assert response.latest_replay_id == response.events[0].replay_id
            stream.cancel()
        assert org.control.wait_streams(count=0, seconds=30)
