"""Ids, times, callbacks, switches and the wire format of the Pub/Sub API."""

import string
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given
from hypothesis import strategies as st

from ninelives_server.providers.salesforce.pb import pubsub_api_pb2 as pb
from ninelives_server.testing.fake_salesforce import apps, sfid, times
from ninelives_server.testing.fake_salesforce.behaviour import Behaviour


@pytest.mark.parametrize(
    "known", ["001D000000IRFmaIAH", "005R0000000cw06IAA", "00Dxx0000001gPLEAY", "000000000000000AAA"]
)
def test_suffixes_are_those_of_documented_ids(known: str) -> None:
    """
    The suffix of ids in Salesforce's documentation follows from their first 15 characters.
    """
    assert sfid.to_long(known[:15]) == known
    assert sfid.normalise(known[:15]) == sfid.normalise(known) == known


@given(st.text(string.ascii_letters + string.digits, min_size=15, max_size=15))
def test_a_changed_letter_case_is_noticed(short: str) -> None:
    """
    An 18-character id whose letter case was changed is no id.
    """
    known = sfid.to_long(short)
    swapped = short.swapcase() + known[15:]

    assert sfid.normalise(known) == known
    assert sfid.normalise(swapped) == (known if swapped == known else None)


def test_ids_of_a_sequence_ascend_and_differ() -> None:
    """
    Later ids sort behind earlier ones, with their object's prefix.
    """
    sequence = sfid.Sequence()
    made = [sequence.new("00Q") for _ in range(200)]

    assert made == sorted(
        made,
        key=lambda i: [
            "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".index(c) for c in i[:15]
        ],
    )
    assert len(set(made)) == 200
    assert all(sfid.normalise(i) == i and i.startswith("00Q") for i in made)


@pytest.mark.parametrize(
    "text", ["2013-05-07T22:07:19.000+0000", "2013-05-07T22:07:19Z", "2013-05-08T00:07:19.000+02:00"]
)
def test_datetimes_are_read_with_any_offset_and_written_without_colon(text: str) -> None:
    """
    Answers always say `.000+0000`.
    """
    moment = times.read_datetime(text)

    assert moment == datetime(2013, 5, 7, 22, 7, 19, tzinfo=UTC)
    assert times.write_datetime(moment) == "2013-05-07T22:07:19.000+0000"


@pytest.mark.parametrize("text", ["2013-05-07", "2013-05-07T22:07:19", "yesterday"])
def test_a_datetime_needs_an_offset(text: str) -> None:
    """
    Salesforce refuses a datetime without one.
    """
    with pytest.raises(ValueError, match="not a datetime"):
        times.read_datetime(text)


@pytest.mark.parametrize(
    ("callback", "accepted"),
    [
        ("https://app.example.com/oauth/redirect/salesforce", True),
        ("https://127.0.0.1:8443/x", True),
        ("http://localhost:9980/oauth/redirect/salesforce", True),
        ("http://localhost/x", True),
        ("myapp://oauth/done", True),
        ("http://127.0.0.1:9980/x", False),
        ("http://192.168.0.7/x", False),
        ("http://ninelives.local/x", False),
        ("http://localhost.example.com/x", False),
        ("https:///x", False),
        ("https://example.com/x#y", False),
        ("javascript:alert(1)", False),
        ("plain", False),
    ],
)
def test_callbacks_are_taken_and_refused_as_in_setup(callback: str, accepted: bool) -> None:
    """
    https, `http://localhost` and app schemes are taken; no other plain http.
    """
    assert (apps.refusal(callback) is None) is accepted


def test_switches_are_checked_by_name_and_type() -> None:
    """
    A mistake in a switch is an error, not silence.
    """
    assert Behaviour().but({"keepalive_seconds": 2}).keepalive_seconds == 2
    for bad in ({"nothing": 1}, {"approvals_kept": "5"}, {"ask_every_time": 1}, {"approvals_kept": True}):
        with pytest.raises(ValueError, match="switch"):
            Behaviour().but(bad)


def _messages(file: Any) -> dict[str, Any]:
    """Return what matters on the wire: messages, fields, enums and calls."""
    found: dict[str, Any] = {
        m.name: sorted((f.name, f.number, f.type, f.label, f.type_name) for f in m.field)
        for m in file.message_type
    }
    found |= {e.name: sorted((v.name, v.number) for v in e.value) for e in file.enum_type}
    for service in file.service:
        found[service.name] = sorted(
            (m.name, m.input_type, m.output_type, m.client_streaming, m.server_streaming)
            for m in service.method
        )
    return found


def test_the_protocol_is_the_published_one(node: str, tmp_path: Path) -> None:
    """
    Our own text of the protocol describes the same messages and calls as the copy that Salesforce's
    Node client ships.
    """
    del node  # installs the client
    theirs = Path(__file__).parent / "clients/node_modules/salesforce-pubsub-api-client"
    out = tmp_path / "descriptors"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={theirs}", f"--descriptor_set_out={out}",
         str(theirs / "pubsub_api.proto")],
        check=True, timeout=60,
    )  # fmt: skip
    published = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]
    ours = descriptor_pb2.FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)

    assert ours.package == published.package == "eventbus.v1"
    assert _messages(ours) == _messages(published)
