"""Each change leaves a row in the audit log that names who did what to which thing: walked over all routes."""

from dataclasses import dataclass

import pytest
from api_site import Site, a_bundle, a_name

pytestmark = [pytest.mark.system]


@dataclass(frozen=True)
class Change:
    """A request that is right, and what the log must say of it.

    Attributes:
        target: Of the row: a template over the things, or `answer.KEY` for a member of the answer's document.
        status: What it answers, where the thing cannot succeed here (no provider, no worker).
    """

    action: str
    target: str
    options: dict
    status: tuple[int, ...] = (200, 201, 204)


CHANGES = {
    ("POST", "/api/v1/projects"): Change("project.created", "answer.id", {"json": {"name": "{new}"}}),
    ("PUT", "/api/v1/projects/{project}/retention"): Change(
        "project.retention_set", "{project}", {"json": {"events": 3}}
    ),
    ("PUT", "/api/v1/projects/{project}/concurrency"): Change(
        "project.limited", "{project}", {"json": {"max_concurrent": 3}}
    ),
    ("PATCH", "/api/v1/triggers/{trigger_id}/limits"): Change(
        "trigger.changed", "{trigger_id}", {"json": {"max_concurrent": 3}}
    ),
    ("PUT", "/api/v1/projects/{project}/variables/{name}"): Change(
        "variable.set", "{project}/{name}", {"json": {"value": "x"}}
    ),
    ("DELETE", "/api/v1/projects/{project}/variables/{name}"): Change(
        "variable.deleted", "{project}/{name}", {}
    ),
    ("PUT", "/api/v1/projects/{project}/store/{key}"): Change(
        "store.value_set", "{project}", {"json": {"value": [1]}}
    ),
    ("PUT", "/api/v1/projects/{project}/published-values/{key}"): Change(
        "store.value_published", "{project}", {"json": {}}
    ),
    ("DELETE", "/api/v1/projects/{project}/store/{key}"): Change("store.value_deleted", "{project}", {}),
    ("POST", "/api/v1/projects/{project}/sessions"): Change(
        "session.started", "answer.id", {"json": {"entrypoint": "main.py:on_open"}}
    ),
    ("POST", "/api/v1/deploys"): Change("project.created", "answer.project_id", {"bundle": True}),
    ("POST", "/api/v1/deployments/{deployment_id}/deactivate"): Change(
        "deployment.deactivated", "{deployment_id}", {}
    ),
    ("POST", "/api/v1/deployments/{deployment_id}/activate"): Change(
        "deployment.activated", "{deployment_id}", {}
    ),
    ("POST", "/api/v1/deployments/{deployment_id}/test"): Change("deployment.tested", "{deployment_id}", {}),
    ("POST", "/api/v1/connections"): Change(
        "connection.created",
        "answer.id",
        {
            "json": {
                "project": "{project}",
                "name": "second",
                "integration": "salesforce",
                "settings": {"client_id": "3MVG9"},
                "secrets": {"client_secret": "s"},
            }
        },
    ),
    ("PATCH", "/api/v1/connections/{connection_id}"): Change(
        "connection.edited", "{connection_id}", {"json": {"name": "renamed"}}
    ),
    ("POST", "/api/v1/connections/{connection_id}/authorise"): Change(
        "connection.authorisation_begun", "{connection_id}", {}
    ),
    ("POST", "/api/v1/connections/{connection_id}/test"): Change("connection.tested", "{connection_id}", {}),
    ("POST", "/api/v1/connections/{connection_id}/refresh"): Change(
        "", "", {}, status=(409,)
    ),  # nothing to refresh without a grant: no change, so no row
    ("POST", "/api/v1/connections/{connection_id}/revoke"): Change(
        "connection.disconnected", "{connection_id}", {}
    ),
    ("DELETE", "/api/v1/connections/{connection_id}"): Change("connection.deleted", "{connection_id}", {}),
    ("POST", "/api/v1/events/{event_id}/redispatch"): Change(
        "event.redispatched", "{event_id}", {"json": {}}
    ),
    ("POST", "/api/v1/sessions/{session_id}/stop"): Change(
        "session.stop_requested", "{session_id}", {"json": {"kill": True}}
    ),
    ("POST", "/api/v1/sessions/{session_id}/fork"): Change(
        "session.forked", "answer.id", {"json": {"from_step": 1}}
    ),
    ("POST", "/api/v1/login-links"): Change("login_link.created", "", {"json": {}}),
    ("POST", "/api/v1/tokens"): Change("token.created", "answer.id", {"json": {"name": "walked"}}),
    ("DELETE", "/api/v1/tokens/{token_id}"): Change("token.revoked", "{token_id}", {}),
    ("POST", "/api/v1/users"): Change("user.created", "answer.id", {"json": {"name": "{new}"}}),
    ("DELETE", "/api/v1/deployments/{deployment_id}"): Change("deployment.deleted", "{deployment_id}", {}),
    ("DELETE", "/api/v1/projects/{project}"): Change("project.deleted", "{project}", {}),
}
QUESTIONS = {("POST", "/api/v1/events/verify-filter"), ("POST", "/api/v1/lints")}
#: What must happen before.
FIRST = {
    ("DELETE", "/api/v1/deployments/{deployment_id}"): [
        "/sessions/{session_id}/stop",
        "/deployments/{deployment_id}/deactivate",
    ],
    ("POST", "/api/v1/deployments/{deployment_id}/activate"): ["/deployments/{deployment_id}/deactivate"],
    ("POST", "/api/v1/deployments/{deployment_id}/test"): ["/deployments/{deployment_id}/deactivate"],
}


def test_every_route_that_changes_something_is_in_the_table(site: Site):
    """
    So that a new route cannot be forgotten.
    """
    changing = {o for o in site.operations() if o[0] != "GET"} - QUESTIONS

    assert changing == set(CHANGES)


def newest(site, count=20):
    return site.get("/audit", params={"limit": count})["items"]


@pytest.mark.parametrize("operation", CHANGES, ids=lambda o: f"{o[0]} {o[1].removeprefix('/api/v1/')}")
def test_each_change_leaves_a_row(site: Site, operation):
    """
    With the user's id, the action and the thing's id; and a change that was refused leaves none.
    """
    change, things, new = CHANGES[operation], site.things(), a_name("new")
    for path in FIRST.get(operation, []):
        site.good(site.ask("POST", things.path(path), json={"kill": True}))
    seen = {row["id"] for row in newest(site)}

    options = dict(change.options)
    if options.pop("bundle", False):
        options["content"] = a_bundle(new)
    if "json" in options:
        body = options["json"].items()
        options["json"] = {k: things.path(v, new=new) if isinstance(v, str) else v for k, v in body}
    answer = site.ask(operation[0], things.path(operation[1]), **options)

    assert answer.status_code in change.status, answer.text
    rows = [row for row in newest(site) if row["id"] not in seen]
    if not change.action:
        assert rows == []
        return
    target = change.target
    if target.startswith("answer."):
        target = answer.json()[target.removeprefix("answer.")]
    found = [row for row in rows if row["action"] == change.action]
    assert found, [row["action"] for row in rows]
    assert found[0]["actor"] == site.user_ids["admin"]
    assert found[0]["target"] == things.path(target) if target else found[0]["target"]
