"""Replay equality of the examples: each is killed after each of its records, against the fake org."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import ninelives_server.testing
from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce
from ninelives_server.testing.session_harness import Program

ROOT = Path(__file__).parents[2]
SHIPPED = Path(ninelives_server.testing.__file__).parent / "examples"
#: Some are there twice, by a link.
EXAMPLES = {
    path.name: path.resolve()
    for base in (ROOT / "examples", SHIPPED)
    for path in sorted(base.iterdir())
    if (path / "ninelives.yaml").is_file()
}


@dataclass
class Scenario:
    """How an example is started, and what must have happened in the org."""

    entrypoint: str
    event: dict[str, Any]
    reset: Callable[[], None]
    check: Callable[[Any], None]


@pytest.fixture(scope="module")
def org():
    """A fake org in a thread of this process."""
    with FakeSalesforce.start() as running:
        yield running


def lead_router(org: FakeSalesforce) -> Scenario:
    """A Lead of a company that is an account, and nobody has routed it."""
    control = org.control
    control.create_record(entity="Account", fields={"Name": "Engines"})
    fields = {"FirstName": "Ada", "LastName": "Byron", "Company": "Engines"}
    lead = control.create_record(entity="Lead", fields=fields)
    header = {"entityName": "Lead", "changeType": "CREATE", "recordIds": [lead]}

    def check(result: Any) -> None:
        assert result["routed"] is True
        assert control.record(entity="Lead", record_id=lead)["Rating"] == "Hot"

    return Scenario(
        "main.py:on_lead",
        {"ChangeEventHeader": header},
        lambda: control.update_record(entity="Lead", record_id=lead, fields={"Rating": None}),
        check,
    )


SCENARIOS = {"lead_router": lead_router}


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() & SCENARIOS.keys()))
def test_an_example_that_is_killed_anywhere_ends_as_if_nothing_had_happened(zygote, org, tmp_path, name):
    """Prints and result are those of an undisturbed run, and the org is as the example left it."""
    scenario = SCENARIOS[name](org)
    shutil.copytree(EXAMPLES[name], tmp_path / "build")
    token = org.control.issue_token()
    given = {"crm__oauth_access_token": token["access_token"], "crm__instance_url": token["instance_url"]}
    made = Program(
        tmp_path / "build",
        entrypoint=scenario.entrypoint,
        data=scenario.event,
        env={**given, "PAUSE_SECONDS": "0.1"},
        secrets={"crm__oauth_access_token": token["access_token"]},
        answers={
            "token": lambda _args: {"token": token["access_token"], "instance_url": token["instance_url"]}
        },
        connections=["crm"],
        ca_file=org.details.ca_file,
    )

    whole = zygote.crash_everywhere(made, reset=scenario.reset)

    assert whole.state == "completed", whole.error
    scenario.check(whole.result)
