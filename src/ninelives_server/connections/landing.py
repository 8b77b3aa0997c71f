"""The end of an authorisation: the redirect from the provider, to tokens that are saved.

Everything happens in the redirect handler: code exchange, identity, save. The redirect is accepted with
`state` and the flow cookie, never with a login, so it works where the pages live on another host. Every way
out is an outcome that is kept with the flow; the same redirect again shows it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ninelives_server import errors, log
from ninelives_server.connections import explain, grants, tickets
from ninelives_server.connections.pages import Finished
from ninelives_server.connections.parts import Parts
from ninelives_server.connections.safe import Safe
from ninelives_server.connections.tickets import Named
from ninelives_server.integrations.contract import App, Identity, Integration
from ninelives_server.model.actors import Actor, ActorKind
from ninelives_server.model.connections import Connection
from ninelives_server.oauth import bearer, outcomes
from ninelives_server.oauth.outcomes import Refusal
from ninelives_server.oauth.tokens import TokenSet
from ninelives_server.store import access, audit, connections, oauth_flows
from ninelives_server.store.core import Tx
from ninelives_server.store.oauth_flows import FlowRow

logger = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claimed:
    """A redirect that is ours to finish."""

    flow: FlowRow
    connection: Connection
    app: App
    verifier: str = field(repr=False)
    by: Actor


class _Refused(Exception):
    """The conversation ended; the outcome says how."""

    def __init__(self, outcome: dict[str, Any]) -> None:
        super().__init__(outcome["title"])
        self.outcome = outcome


class Landing:
    """Finishes flows."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._safe = Safe(parts.vault)
        self._tasks: set[asyncio.Task[None]] = set()

    async def finish(
        self, integration: str, query: Mapping[str, str], cookies: Mapping[str, str]
    ) -> Finished:
        """Take the provider's redirect; return the page that shows what became of it."""
        state = query.get("state", "")
        if not state:
            return Finished(page="no-state")
        claimed = await self._parts.store.write(lambda tx: self._claim(tx, integration, state, cookies))
        if isinstance(claimed, Finished):
            return claimed
        # A browser that goes away must not stop it between the exchange of the code and the save.
        task = asyncio.create_task(self._conclude(claimed, query), name=f"landing {claimed.flow.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)
        return Finished(page=claimed.flow.id)

    async def close(self) -> None:
        """Wait for what is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _claim(self, tx: Tx, integration: str, state: str, cookies: Mapping[str, str]) -> _Claimed | Finished:
        row = oauth_flows.by_state(tx, bearer.hash_secret(state), lock=True)
        found = tickets.named(tx, row)
        if row is None or found is None or found.connection.integration != integration:
            return Finished(page="unknown")
        if not bearer.matches(cookies.get(tickets.cookie_name(row.id), ""), row.cookie_hash):
            return Finished(page="other-browser")
        if row.status != "started":
            return Finished(page=row.id)
        if row.expires_at <= tx.now:
            self._end(tx, row, _EXPIRED)
            return Finished(page=row.id)
        return self._claimed(tx, found)

    def _claimed(self, tx: Tx, found: Named) -> _Claimed | Finished:
        row, connection = found.flow, found.connection
        role = access.role_of(tx, connection.org_id, row.user_id)
        if role is None:
            self._end(tx, row, explain.plain_failure("The user who began this is no longer a member here"))
            return Finished(page=row.id)
        verifier = self._safe.open_verifier(tx, connection, row.id, row.sealed_verifier or b"")
        oauth_flows.change(tx, row.id, status="redirected", sealed_verifier=None)
        by = Actor(
            kind=ActorKind.USER,
            id=row.user_id,
            org_id=connection.org_id,
            role=role,
            user_name=found.user_name,
        )
        return _Claimed(
            flow=row, connection=connection, app=self._safe.app(tx, connection), verifier=verifier, by=by
        )

    async def _conclude(self, claimed: _Claimed, query: Mapping[str, str]) -> None:
        try:
            tokens, identity = await self._granted(claimed, query)
            superseded = await self._parts.store.write(lambda tx: self._save(tx, claimed, tokens, identity))
        except _Refused as refused:
            outcome = refused.outcome
        except errors.NinelivesError as error:
            outcome = explain.plain_failure(str(error), "Correct it, then try again")
        except Exception:  # the task's root: the browser waits for an outcome
            logger.exception("landing.failed", flow_id=claimed.flow.id)
            outcome = explain.plain_failure(
                "Something went wrong on this server, not at the service", "Try again", "See the server's log"
            )
        else:
            await self._end_other(claimed, superseded)
            return
        await self._parts.store.write(lambda tx: self._fail(tx, claimed, outcome))

    async def _granted(self, claimed: _Claimed, query: Mapping[str, str]) -> tuple[TokenSet, Identity]:
        integration = self._parts.registry.get(claimed.connection.integration)
        redirect_uri = claimed.flow.redirect_uri
        if query.get("error") or not query.get("code"):
            raise _Refused(_told(integration, query, redirect_uri))
        run, rule = self._parts.http.run, integration.host_rule()
        tokens = await run(
            integration.exchange(
                claimed.app, code=query["code"], verifier=claimed.verifier, redirect_uri=redirect_uri
            ),
            rule,
        )
        if isinstance(tokens, Refusal):
            raise _Refused(explain.failed(integration.diagnose(tokens, redirect_uri=redirect_uri)))
        identity = await run(integration.identify(claimed.app, tokens), rule)
        if isinstance(identity, Refusal):
            await run(integration.revoke(claimed.app, tokens), rule)
            raise _Refused(explain.failed(integration.diagnose(identity)))
        return tokens, identity

    def _save(
        self, tx: Tx, claimed: _Claimed, tokens: TokenSet, identity: Identity
    ) -> tuple[App, TokenSet] | None:
        """Save the grant; return the one that it replaces where that is another account's."""
        connection = connections.by_id(tx, claimed.connection.id, lock=True)
        if connection is None:
            raise errors.NotFound("the connection was deleted meanwhile")
        old = self._safe.tokens(tx, connection)
        grants.save_new(tx, self._safe, connection, tokens, identity, claimed.by)
        self._end(tx, claimed.flow, explain.connected(connection, identity), status="done")
        other = old is not None and connection.account_key != identity.account_key
        return (claimed.app, old) if other and old is not None else None

    async def _end_other(self, claimed: _Claimed, superseded: tuple[App, TokenSet] | None) -> None:
        # Of the same account it is left alone: whether revoking it would end the new grant too is not known.
        if superseded is None:
            return
        integration = self._parts.registry.get(claimed.connection.integration)
        try:
            refusal = await self._parts.http.run(integration.revoke(*superseded), integration.host_rule())
        except errors.NinelivesError as error:
            logger.warning("grant.not_revoked", connection_id=claimed.connection.id, reason=str(error))
            return
        if refusal is not None:
            logger.warning("grant.not_revoked", connection_id=claimed.connection.id, reason=refusal.words)

    def _fail(self, tx: Tx, claimed: _Claimed, outcome: dict[str, Any]) -> None:
        connection = claimed.connection
        if oauth_flows.by_id(tx, claimed.flow.id) is None:
            return
        self._end(tx, claimed.flow, outcome)
        audit.record(
            tx,
            claimed.by,
            "connection.authorisation_failed",
            connection.id,
            project_id=connection.project_id,
            details={"message": outcome["message"], "provider": outcome["provider_words"]},
        )
        tx.notify("connection", connection.id)

    @staticmethod
    def _end(tx: Tx, row: FlowRow, outcome: dict[str, Any], status: str = "failed") -> None:
        oauth_flows.change(tx, row.id, status=status, outcome=outcome, ended_at=tx.now, sealed_verifier=None)
        oauth_flows.tell_waiting(tx, row)


_EXPIRED = {
    **explain.plain_failure("It took longer than ten minutes", "Try again; nothing that you entered is lost"),
    "title": "This authorisation has expired",
}


def _told(integration: Integration, query: Mapping[str, str], redirect_uri: str) -> dict[str, Any]:
    """Explain what the provider sent to the callback instead of a code."""
    error = outcomes.clean(query.get("error"), 80) or "no code"
    description = outcomes.clean(query.get("error_description"))
    refusal = Refusal(kind=outcomes.kind_of(400, error), error=error, description=description, status=400)
    return explain.failed(integration.diagnose(refusal, redirect_uri=redirect_uri))
