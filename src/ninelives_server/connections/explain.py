"""Outcomes in words: of a stored flow, and of what belongs to no flow of this browser."""

from collections.abc import Mapping
from typing import Any

from ninelives_server.connections.pages import FlowStatus, Outcome
from ninelives_server.integrations.contract import Diagnosis, Identity
from ninelives_server.model.connections import Connection
from ninelives_server.store import oauth_flows
from ninelives_server.store.core import Tx
from ninelives_server.store.oauth_flows import FlowRow

_BEGIN = "Begin again on the connection's page, or with `ninelives connection init`"

UNKNOWN_LINK = Outcome(
    title="This link does not work",
    ok=False,
    message="It was used already, or is not complete. A start link is good for one start",
    next_steps=(_BEGIN,),
)
EXPIRED_LINK = Outcome(
    title="This link has expired",
    ok=False,
    message="A start link is good for ten minutes and five tries of the short code",
    next_steps=(_BEGIN,),
)
#: Outcome pages by the name that stands in the place of a flow id.
PAGES: Mapping[str, Outcome] = {
    "no-state": Outcome(
        title="This answer belongs to no authorisation",
        ok=False,
        message="The service came back without the `state` that it was sent, and cannot be placed",
        next_steps=(_BEGIN, "Use the newest page of the service; an old or copied address does not work"),
    ),
    "unknown": Outcome(
        title="This authorisation is not known",
        ok=False,
        message="It ended long ago, or its connection was deleted",
        next_steps=(_BEGIN,),
    ),
    "other-browser": Outcome(
        title="This authorisation was started in another browser",
        ok=False,
        message="The answer came to a browser that did not start it, and was refused. Nothing was connected",
        next_steps=(
            "Finish it in the browser window in which you pressed the button",
            "If that was this one: allow cookies for this server, then begin again",
            _BEGIN,
        ),
    ),
}


def connected(connection: Connection, identity: Identity) -> dict[str, Any]:
    """Describe a success: whose account it is, and what to watch."""
    account, trouble = identity.account, identity.trouble
    before = connection.account
    message = f"{connection.name} is connected as {account.user}"
    other = before is not None and connection.account_key != identity.account_key
    steps = list(trouble.next_steps) if trouble else []
    if other and before is not None:
        steps.append(f"Before, it was connected as {before.user} of {before.org_name or before.org_id}")
    return {
        "title": "Connected" if trouble is None else "Connected, but the API is not usable yet",
        "ok": trouble is None,
        "message": message if trouble is None else f"{message}. {trouble.message}",
        "next_steps": steps,
        "provider_words": trouble.provider_words if trouble else "",
        "facts": [
            [
                "Organisation",
                f"{account.org_name} ({account.org_id})" if account.org_name else account.org_id,
            ],
            ["User", account.user],
            ["Instance", account.instance_url],
            ["Scopes", " ".join(account.scopes)],
        ],
    }


def failed(diagnosis: Diagnosis, title: str = "Not connected") -> dict[str, Any]:
    """Describe a failure: what it means, what the service said, what to do."""
    return {
        "title": title,
        "ok": False,
        "message": diagnosis.message,
        "next_steps": list(diagnosis.next_steps),
        "provider_words": diagnosis.provider_words,
    }


def plain_failure(message: str, *steps: str) -> dict[str, Any]:
    """Describe a failure on our side of the conversation."""
    return {
        "title": "Not connected",
        "ok": False,
        "message": message,
        "next_steps": [*steps],
        "provider_words": "",
    }


def now(tx: Tx, flow: FlowRow, connection: Connection) -> Outcome:
    """Return the outcome of a flow, or of the one that was begun in its place with Retry."""
    if flow.outcome is None:
        flow = oauth_flows.successor(tx, flow) or flow
    return of_flow(flow, connection, expired=flow.expires_at <= tx.now)


def of_flow(flow: FlowRow, connection: Connection, *, expired: bool) -> Outcome:
    """Return the outcome of a flow as it stands."""
    stored = dict(flow.outcome or {})
    if not stored and expired:
        stored = plain_failure(
            "It took longer than ten minutes, or was interrupted",
            "Try again; nothing that you entered is lost",
        )
        stored["title"] = "This authorisation has expired"
    pending = not stored
    if pending:
        stored = {"title": "Waiting", "ok": False, "message": "The authorisation is still under way"}
    return Outcome(
        title=stored["title"],
        ok=stored["ok"],
        message=stored["message"],
        next_steps=tuple(stored.get("next_steps", ())),
        provider_words=stored.get("provider_words", ""),
        pending=pending,
        flow_id=flow.id,
        connection_id=connection.id,
        connection_name=connection.name,
        project_id=connection.project_id or "",
        integration=connection.integration,
        callback_url=flow.redirect_uri,
        can_retry=not stored["ok"] and not pending,
        facts=tuple((str(label), str(value)) for label, value in stored.get("facts", ())),
        return_to=flow.return_to,
    )


def as_document(outcome: Outcome) -> dict[str, object]:
    """Return an outcome for programs."""
    return {
        "title": outcome.title,
        "ok": outcome.ok,
        "message": outcome.message,
        "next_steps": list(outcome.next_steps),
        "provider_words": outcome.provider_words,
    }


def status(tx: Tx, flow: FlowRow, connection: Connection) -> FlowStatus:
    """Return how a flow fares, for whoever began it."""
    latest = (None if flow.outcome else oauth_flows.successor(tx, flow)) or flow
    expired = latest.outcome is None and latest.expires_at <= tx.now
    outcome = of_flow(latest, connection, expired=expired)
    return FlowStatus(
        flow_id=flow.id,
        connection_id=connection.id,
        status="expired" if expired else latest.status,
        outcome=None if outcome.pending else as_document(outcome),
        expires_at=flow.expires_at,
    )
