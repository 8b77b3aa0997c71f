"""The checklist of a project's overview."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from ninelives_server.events.status import Listening, TriggerStatus
from ninelives_server.model.connections import ConnectionState
from ninelives_server.model.projects import DeploymentState
from ninelives_server.model.triggers import TriggerType
from ninelives_server.web import setup

ACTIVE = SimpleNamespace(state=DeploymentState.ACTIVE)


def status(state: str = "listening", reason: str = "") -> TriggerStatus:
    listening = Listening(
        since=datetime(2026, 1, 1, tzinfo=UTC),
        topic="/data/LeadChangeEvent",
        last_keepalive=None,
        last_event=None,
        state=state,
        reason=reason,
    )
    return TriggerStatus(webhook_url=None, next_at=None, last_error="", listening=listening)


def steps(**given: Any) -> dict[str, setup.Step]:
    parts: dict[str, Any] = {
        "connections": [], "triggers": [], "statuses": {}, "deployments": [], "variables": [], "sessions": [],
    }  # fmt: skip
    return {step.section: step for step in setup.steps(**{**parts, **given})}


def test_an_empty_project_has_everything_to_do():
    """
    Each line says the next step.
    """
    found = steps()

    assert list(found) == ["deployments", "connections", "triggers", "sessions"]
    assert not any(step.is_done for step in found.values())
    assert "ninelives deploy" in found["deployments"].hint


def test_what_the_code_has_no_use_for_is_left_out():
    """
    A deployed project without connections and triggers is not reminded of them for ever.
    """
    assert list(steps(deployments=[ACTIVE], sessions=[object()])) == ["deployments", "sessions"]


def test_connections_that_need_somebody_are_named():
    """
    Those that a manifest brought are to be initialised; one that is retried by itself is not.
    """
    crm = SimpleNamespace(name="crm", state=ConnectionState.INIT_REQUIRED)
    erp = SimpleNamespace(name="erp", state=ConnectionState.DEGRADED)

    to_do = steps(connections=[crm, erp])["connections"]
    done = steps(connections=[erp])["connections"]

    assert (to_do.is_done, to_do.hint) == (False, "to do: crm")
    assert done.is_done


def test_a_trigger_that_does_not_listen_says_why():
    """
    Silence is the worst answer: the reason stands on the overview.
    """
    trigger = SimpleNamespace(id="trg_1", name="on_lead", type=TriggerType.CONNECTION)
    reason = "Lead is not selected in Setup > Change Data Capture"

    deaf = steps(triggers=[trigger], statuses={"trg_1": status("refused", reason)})["triggers"]
    fine = steps(triggers=[trigger], statuses={"trg_1": status()})["triggers"]

    assert (deaf.is_done, deaf.hint) == (False, f"on_lead: {reason}")
    assert (fine.is_done, fine.hint) == (True, "1 trigger")


def test_variables_without_a_value_are_named():
    """
    A manifest may bring names only.
    """
    empty = SimpleNamespace(name="CHANNEL", is_set=False)
    full = SimpleNamespace(name="REGION", is_set=True)

    assert steps(variables=[empty, full])["variables"].hint == "without a value: CHANNEL"
    assert steps(variables=[full])["variables"].is_done
