"""Connections against a fake Salesforce org: what a test of this noun needs around it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import factories

from ninelives_server.connections.flows import Flows, Outcome, Started
from ninelives_server.connections.service import Connections
from ninelives_server.integrations.http import Outbound
from ninelives_server.integrations.registry import Registry
from ninelives_server.model.actors import Actor
from ninelives_server.model.connections import Connection
from ninelives_server.model.projects import Project
from ninelives_server.settings import Settings
from ninelives_server.store import audit, connections
from ninelives_server.store.core import Store
from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce
from ninelives_server.testing.fake_salesforce.visitor import Visitor
from ninelives_server.vault.vault import Vault

CALLBACK = "http://localhost:9980/oauth/redirect/salesforce"


@dataclass
class World:
    """One server, one org, one person with a project."""

    store: Store
    vault: Vault
    org: FakeSalesforce
    actor: Actor
    project: Project
    settings: Settings
    registry: Registry = field(default_factory=Registry.load)

    def __post_init__(self) -> None:
        self.http = Outbound(ca_file=self.org.ca_file, insecure_hosts=frozenset({"localhost", "127.0.0.1"}))
        self.assemble()

    def assemble(self) -> None:
        """Make the services, with the outgoing HTTP as it is now."""
        self.connections = self.another_server()
        self.flows = Flows(
            store=self.store,
            vault=self.vault,
            registry=self.registry,
            settings=self.settings,
            http=self.http,
        )

    def another_server(self) -> Connections:
        """A server of its own on the same database."""
        return Connections(
            store=self.store,
            vault=self.vault,
            registry=self.registry,
            settings=self.settings,
            http=self.http,
        )

    async def create(
        self,
        name: str = "crm",
        *,
        secret: str | None = None,
        client_id: str | None = None,
        project: str | None = None,
    ) -> Connection:
        """Make a connection with the org's app."""
        return await self.connections.create(
            self.actor,
            project or self.project.id,
            name,
            "salesforce",
            settings={
                "client_id": client_id or self.org.details.client_id,
                "environment": self.org.details.login_url,
            },
            secrets={"client_secret": secret or self.org.details.client_secret},
        )

    async def started(self, connection: Connection) -> Started:
        """Begin an authorisation and press the button, as its own user."""
        link = await self.connections.begin(self.actor, connection.id)
        started = await self.flows.start(connection.id, link.ticket, browser=self.actor)
        assert isinstance(started, Started), started
        return started

    async def visit(self, started: Started, decision: str = "allow") -> dict[str, str]:
        """Go through the org's pages; return the query of the callback."""
        return await self.visit_url(started.authorize_url, decision)

    async def visit_url(self, url: str, decision: str = "allow") -> dict[str, str]:
        """Go through the org's pages from an address; return the query of the callback."""
        return await asyncio.to_thread(self._visit, url, decision)

    def _visit(self, url: str, decision: str) -> dict[str, str]:
        found = self.org.details
        with Visitor(username=found.username, password=found.password, ca_file=found.ca_file) as visitor:
            callback = visitor.authorize(url, decision=decision)
        assert callback.startswith(CALLBACK + "?"), callback
        return dict(parse_qsl(urlsplit(callback).query))

    async def land(self, started: Started, query: Mapping[str, str]) -> Outcome:
        """Come back to the callback with the flow's cookie; return the outcome page."""
        cookies = {started.cookie_name: started.cookie_value}
        finished = await self.flows.finish("salesforce", query, cookies)
        return await self.flows.outcome(finished.page, cookies)

    async def connect(self, connection: Connection | None = None) -> Connection:
        """Authorise a connection through the org's pages."""
        connection = connection or await self.create()
        started = await self.started(connection)
        outcome = await self.land(started, await self.visit(started))
        assert outcome.ok, outcome
        return await self.connections.get(self.actor, connection.id)

    async def state(self, connection: Connection) -> Connection:
        """Return the connection as it is now."""
        return await self.connections.get(self.actor, connection.id)

    async def actions(self) -> list[str]:
        """Return the actions in the audit log, oldest first."""
        entries = await self.store.read(lambda tx: audit.of_org(tx, self.actor.org_id, limit=500))
        return [entry.action for entry in reversed(entries)]

    async def secret_names(self, connection: Connection) -> set[str]:
        """Return which secrets a connection has."""
        return set(await self.store.read(lambda tx: connections.secrets_of(tx, connection.id)))

    def token_requests(self, grant_type: str = "refresh_token") -> list[dict[str, Any]]:
        """Return the bodies of the token requests of this grant type that reached the org, in order."""
        found = self.org.control.requests(method="POST", path="/services/oauth2/token")
        return [e["body"] for e in found if (e["body"] or {}).get("grant_type") == grant_type]


async def a_world(store: Store, vault: Vault, org: FakeSalesforce, tmp_path: Path) -> World:
    """Make a person with a project on an empty database."""
    await store.write(vault.start)
    actor = await factories.a_person(store)
    project = await factories.a_project(store, vault, actor)
    settings = Settings(data_dir=tmp_path, public_url=None, port=9980)
    return World(store=store, vault=vault, org=org, actor=actor, project=project, settings=settings)
