"""The beginning of an authorisation: ticket, short code, start; everything up to the provider's page.

A start link that is sent to a stranger must not bind the stranger's account to the sender's connection. So
the page asks for the short code, which only the sender sees, unless the browser holds the sender's own login.
"""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from ninelives_server import ids
from ninelives_server.connections import explain
from ninelives_server.connections.pages import Outcome, Started, StartLink, StartPage
from ninelives_server.connections.parts import Parts
from ninelives_server.connections.safe import Safe
from ninelives_server.errors import Conflict, Invalid
from ninelives_server.model.actors import Actor, ActorKind, Role
from ninelives_server.model.connections import Connection
from ninelives_server.oauth import bearer, pkce
from ninelives_server.store import audit, connections, oauth_flows, projects
from ninelives_server.store.core import Tx
from ninelives_server.store.oauth_flows import FlowRow

#: For the ticket, and again for the way to the provider and back.
LIFE = timedelta(minutes=10)
#: Wrong short codes before the link is dead: 5 of 2^40.
TRIES = 5
#: How long the browser that started a flow may look at its outcome and retry.
COOKIE_LIFE = timedelta(hours=1)
COOKIE_PREFIX = "ninelives_flow_"

_CODE_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # nothing that looks like something else


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A flow with what it belongs to."""

    flow: FlowRow
    connection: Connection
    project_name: str
    user_name: str


class Tickets:
    """Makes start links and takes them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._safe = Safe(parts.vault)

    def issue(self, tx: Tx, actor: Actor, connection: Connection, return_to: str) -> StartLink:
        """Make a start link for a connection; who may do so is the caller's question."""
        if not self._parts.registry.mode(connection.integration, connection.auth_mode).uses_oauth:
            raise Conflict(
                f"connection {connection.name!r} is not authorised in a browser; enter its fields in its "
                "form, or with `ninelives connection edit CONNECTION --set FIELD=VALUE`"
            )
        self._has_app(connection)
        ticket, code = bearer.new_secret(), new_code()
        flow = self._row(tx, connection, actor.id, _safe_path(return_to))
        oauth_flows.insert(
            tx,
            replace(flow, ticket_hash=bearer.hash_secret(ticket), code_hash=bearer.hash_secret(plain(code))),
        )
        audit.record(
            tx, actor, "connection.authorisation_begun", connection.id, project_id=connection.project_id
        )
        return StartLink(
            flow_id=flow.id,
            url=f"{self._parts.base_url}/oauth/start/{connection.id}?ticket={ticket}",
            ticket=ticket,
            code=code,
            expires_at=flow.expires_at,
        )

    def _has_app(self, connection: Connection) -> None:
        mode = self._parts.registry.mode(connection.integration, connection.auth_mode)
        missing = [
            field
            for field in mode.fields
            if field.required
            and not (
                field.name in connection.secrets_set
                if field.is_secret
                else connection.settings.get(field.name)
            )
        ]
        if missing:
            labels = " and no ".join(field.label for field in missing)
            options = " ".join(f"--set {field.name}={'-' if field.is_secret else '…'}" for field in missing)
            raise Conflict(
                f"connection {connection.name!r} has no {labels}; enter them in its form, or with "
                f"`ninelives connection init {connection.id} {options}`",
                code="not_configured",
            )

    def _row(self, tx: Tx, connection: Connection, user_id: str, return_to: str) -> FlowRow:
        return FlowRow(
            id=ids.new("flw"),
            connection_id=connection.id,
            user_id=user_id,
            redirect_uri=self._parts.callback_url(connection.integration),
            return_to=return_to,
            status="ticketed",
            expires_at=tx.now + LIFE,
            created_at=tx.now,
            created_by=user_id,
        )

    def show(self, tx: Tx, connection_id: str, ticket: str, browser: Actor | None) -> StartPage | Outcome:
        """Return what the start page shows; it uses nothing up."""
        found = named(tx, oauth_flows.by_ticket(tx, connection_id, bearer.hash_secret(ticket)))
        if found is None:
            return explain.UNKNOWN_LINK
        if found.flow.expires_at <= tx.now or found.flow.code_tries >= TRIES:
            return explain.EXPIRED_LINK
        return self._page(found, browser)

    def _page(self, found: Named, browser: Actor | None, error: str = "") -> StartPage:
        connection = found.connection
        return StartPage(
            flow_id=found.flow.id,
            connection_id=connection.id,
            connection_name=connection.name,
            project_name=found.project_name,
            user_name=found.user_name,
            integration=connection.integration,
            integration_title=self._parts.registry.get(connection.integration).title,
            host=self._host(connection),
            callback_url=found.flow.redirect_uri,
            needs_code=not _is_asker(found, browser),
            expires_at=found.flow.expires_at,
            error=error,
        )

    def start(
        self, tx: Tx, connection_id: str, ticket: str, code: str | None, browser: Actor | None
    ) -> Started | StartPage | Outcome:
        """Use the ticket up and lead to the provider; a wrong code costs one of five tries."""
        row = oauth_flows.by_ticket(tx, connection_id, bearer.hash_secret(ticket), lock=True)
        found = named(tx, row)
        if found is None:
            return explain.UNKNOWN_LINK
        flow = found.flow
        if flow.expires_at <= tx.now or flow.code_tries >= TRIES:
            return explain.EXPIRED_LINK
        if not _is_asker(found, browser) and not bearer.matches(plain(code or ""), flow.code_hash):
            oauth_flows.change(tx, flow.id, code_tries=flow.code_tries + 1)
            left = TRIES - flow.code_tries - 1
            if left == 0:
                return explain.EXPIRED_LINK
            return self._page(found, browser, f"this is not the short code; {left} tries are left")
        return self._started(tx, found)

    def again(self, tx: Tx, found: Named) -> Started:
        """Begin anew for the browser that holds the cookie of an earlier flow of the same connection."""
        self._has_app(found.connection)
        flow = self._row(tx, found.connection, found.flow.user_id, found.flow.return_to)
        oauth_flows.insert(tx, flow)
        connection = found.connection
        asker = Actor(
            kind=ActorKind.USER,
            id=flow.user_id,
            org_id=connection.org_id,
            role=Role.VIEWER,
            scopes=frozenset(),
        )
        audit.record(
            tx, asker, "connection.authorisation_begun", connection.id, project_id=connection.project_id
        )
        return self._started(tx, replace(found, flow=flow))

    def _started(self, tx: Tx, found: Named) -> Started:
        flow, connection = found.flow, found.connection
        integration = self._parts.registry.get(connection.integration)
        state, cookie, proof = bearer.new_secret(), bearer.new_secret(), pkce.new_proof()
        url = integration.authorize_url(
            self._safe.app(tx, connection),
            redirect_uri=flow.redirect_uri,
            state=state,
            challenge=proof.challenge,
        )
        oauth_flows.change(
            tx,
            flow.id,
            status="started",
            ticket_hash=None,
            code_hash=None,
            state_hash=bearer.hash_secret(state),
            cookie_hash=bearer.hash_secret(cookie),
            sealed_verifier=self._safe.seal_verifier(tx, connection, flow.id, proof.verifier),
            started_at=tx.now,
            expires_at=tx.now + LIFE,
        )
        return self.waiting(found, url=url, cookie=cookie, expires_at=tx.now + LIFE)

    def waiting(self, found: Named, *, url: str = "", cookie: str = "", expires_at: datetime) -> Started:
        """Return what the page beside the provider's own pages shows."""
        flow, connection = found.flow, found.connection
        integration = self._parts.registry.get(connection.integration)
        return Started(
            flow_id=flow.id,
            connection_id=connection.id,
            connection_name=connection.name,
            project_id=connection.project_id or "",
            integration=connection.integration,
            integration_title=integration.title,
            authorize_url=url,
            host=self._host(connection),
            callback_url=flow.redirect_uri,
            cookie_name=cookie_name(flow.id),
            cookie_value=cookie,
            cookie_path=self._parts.cookie_path,
            cookie_secure=self._parts.is_https,
            cookie_max_age=int(COOKIE_LIFE.total_seconds()),
            expires_at=expires_at,
            hints=tuple(integration.waiting_hints),
            settings=connection.settings,
        )

    def _host(self, connection: Connection) -> str:
        return self._parts.registry.get(connection.integration).login_host(connection.settings)


def new_code() -> str:
    """Make a short code of 40 bits for people to type, such as `k3m9-x2pq`."""
    text = "".join(secrets.choice(_CODE_ALPHABET) for _ in range(8))
    return f"{text[:4]}-{text[4:]}"


def plain(code: str) -> str:
    """Return a typed code without blanks and dashes, in lower case."""
    return "".join(c for c in code.lower() if c.isalnum())


def cookie_name(flow_id: str) -> str:
    """Return the name of a flow's cookie."""
    return f"{COOKIE_PREFIX}{flow_id}"


def named(tx: Tx, flow: FlowRow | None) -> Named | None:
    """Return a flow with its connection, project and user; `None` where any of them is gone."""
    connection = None if flow is None else connections.by_id(tx, flow.connection_id)
    if flow is None or connection is None:
        return None
    project = (
        None
        if connection.project_id is None
        else projects.by_id(tx, connection.org_id, connection.project_id)
    )
    return Named(
        flow=flow,
        connection=connection,
        project_name=project.name if project else "",
        user_name=oauth_flows.user_name(tx, flow.user_id),
    )


def _is_asker(found: Named, browser: Actor | None) -> bool:
    return (
        browser is not None and browser.id == found.flow.user_id and browser.org_id == found.connection.org_id
    )


def _safe_path(return_to: str) -> str:
    """Accept a path on our own pages, nothing that leads elsewhere."""
    if not return_to:
        return ""
    parts = urlsplit(return_to)
    plain_path = not parts.scheme and not parts.netloc and return_to.startswith("/")
    if not plain_path or return_to.startswith("//") or any(c in return_to for c in "\\\r\n\t"):
        raise Invalid(f"return_to must be a path on this server, not {return_to!r}")
    return return_to
