"""The browser's side of an authorisation: start page, waiting page, redirect, outcome.

There is no actor here. Ticket, short code, cookie and state are the credentials; each is 256 random bits (the
short code 40, with five tries), kept as a hash, and good once. The pages themselves are made by `web`.
"""

from collections.abc import Mapping

from ninelives_server.connections import explain, parts, tickets
from ninelives_server.connections.landing import Landing
from ninelives_server.connections.pages import (
    Finished,
    FlowStatus,
    Outcome,
    Started,
    StartLink,
    StartPage,
)
from ninelives_server.connections.tickets import Named, Tickets
from ninelives_server.errors import Conflict
from ninelives_server.integrations.http import Outbound
from ninelives_server.integrations.registry import Registry
from ninelives_server.model.actors import Actor
from ninelives_server.oauth import bearer
from ninelives_server.settings import Settings
from ninelives_server.store import oauth_flows
from ninelives_server.store.core import Store, Tx
from ninelives_server.vault.vault import Vault

__all__ = ["Finished", "FlowStatus", "Flows", "Outcome", "StartLink", "StartPage", "Started"]


class Flows:
    """Start pages, redirects and outcomes, for whoever holds the right secret."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        registry: Registry,
        settings: Settings,
        http: Outbound | None = None,
    ) -> None:
        self._parts = parts.parts(store=store, vault=vault, registry=registry, settings=settings, http=http)
        self._tickets = Tickets(self._parts)
        self._landing = Landing(self._parts)

    async def close(self) -> None:
        """Wait for redirects that are being finished."""
        await self._landing.close()

    async def show_start(
        self, connection_id: str, ticket: str, browser: Actor | None = None
    ) -> StartPage | Outcome:
        """Return what GET /oauth/start/{connection} shows; it uses nothing up.

        `browser` is who is logged in to this browser on this host, if anybody.
        """
        return await self._parts.store.read(lambda tx: self._tickets.show(tx, connection_id, ticket, browser))

    async def start(
        self, connection_id: str, ticket: str, code: str | None = None, browser: Actor | None = None
    ) -> Started | StartPage | Outcome:
        """Use the ticket up; the start page again where the short code is wrong."""
        try:
            return await self._parts.store.write(
                lambda tx: self._tickets.start(tx, connection_id, ticket, code, browser)
            )
        except Conflict as error:
            return _not_configured(error)

    async def waiting(self, flow_id: str, cookies: Mapping[str, str]) -> Started | Outcome:
        """Return what the page beside the provider's pages shows: hints, or the outcome once there is one."""

        def look(tx: Tx) -> Started | Outcome:
            found = _held(tx, flow_id, cookies)
            if found is None:
                return explain.PAGES["unknown"]
            outcome = explain.now(tx, found.flow, found.connection)
            if outcome.pending:
                return self._tickets.waiting(found, expires_at=found.flow.expires_at)
            return outcome

        return await self._parts.store.read(look)

    async def finish(
        self, integration: str, query: Mapping[str, str], cookies: Mapping[str, str]
    ) -> Finished:
        """Take the provider's redirect. Answer 303 to the page that it names, which has no query."""
        return await self._landing.finish(integration, query, cookies)

    async def outcome(self, page: str, cookies: Mapping[str, str]) -> Outcome:
        """Return how an authorisation ended, or that it is still under way."""
        if page in explain.PAGES:
            return explain.PAGES[page]

        def look(tx: Tx) -> Outcome:
            found = _held(tx, page, cookies)
            if found is None:
                return explain.PAGES["unknown"]
            return explain.now(tx, found.flow, found.connection)

        return await self._parts.store.read(look)

    async def retry(self, flow_id: str, cookies: Mapping[str, str]) -> Started | Outcome:
        """Start anew from the waiting or the outcome page, for the browser that started before. POST only."""

        def again(tx: Tx) -> Started | Outcome:
            found = _held(tx, flow_id, cookies)
            if found is None or found.flow.created_at + tickets.COOKIE_LIFE <= tx.now:
                return explain.PAGES["unknown"]
            if found.flow.status == "done":
                return explain.now(tx, found.flow, found.connection)
            return self._tickets.again(tx, found)

        try:
            return await self._parts.store.write(again)
        except Conflict as error:
            return _not_configured(error)


def _held(tx: Tx, flow_id: str, cookies: Mapping[str, str]) -> Named | None:
    """Return the flow where this browser holds its cookie."""
    found = tickets.named(tx, oauth_flows.by_id(tx, flow_id))
    if found is None or not bearer.matches(
        cookies.get(tickets.cookie_name(flow_id), ""), found.flow.cookie_hash
    ):
        return None
    return found


def _not_configured(error: Conflict) -> Outcome:
    return Outcome(
        title="This connection is not complete",
        ok=False,
        message=str(error),
        next_steps=("Edit the connection and enter what is missing",),
    )
