"""A store with everything between an event and a session row, as `server.py` puts it together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from factories import a_build, a_deployment, a_person, a_project

from ninelives_server.events.dispatch import Dispatcher
from ninelives_server.events.filters import Filters
from ninelives_server.events.ingest import Ingest
from ninelives_server.events.service import Events
from ninelives_server.events.webhooks import WebhookRequest, Webhooks
from ninelives_server.integrations.registry import Registry
from ninelives_server.model.actors import Actor
from ninelives_server.model.events import Event, NewEvent
from ninelives_server.model.projects import Build, Deployment, Project
from ninelives_server.model.sessions import Session
from ninelives_server.sessions.service import Sessions
from ninelives_server.sessions.start import Starts
from ninelives_server.store import events, sessions
from ninelives_server.store.core import Store, Tx
from ninelives_server.vault.vault import Vault


class NoEnvironment:
    """Projects with the variables that a test sets, and without connections."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def environment(self, tx: Tx, project_id: str) -> Mapping[str, str]:
        return self.values

    def session_environment(self, tx: Tx, project_id: str) -> tuple[Mapping[str, str], frozenset[str]]:
        return {}, frozenset()


@dataclass
class Shop:
    """A project in service, and who made it."""

    actor: Actor
    project: Project
    build: Build
    deployment: Deployment


class World:
    """Ingest, dispatch, webhooks and the service on one store."""

    def __init__(self, store: Store, vault: Vault, registry: Registry) -> None:
        self.store = store
        self.vault = vault
        self.filters = Filters()
        nothing = NoEnvironment()
        starts = Starts(vault=vault, variables=nothing, accounts=nothing, base_url="http://localhost:9980")
        self.sessions = Sessions(store=store, vault=vault, starts=starts)
        self.dispatcher = Dispatcher(store=store, vault=vault, filters=self.filters, sessions=self.sessions)
        self.ingest = Ingest(store=store, vault=vault, filters=self.filters, dispatcher=self.dispatcher)
        self.variables = nothing
        self.webhooks = Webhooks(store=store, ingest=self.ingest, variables=self.variables)
        self.events = Events(
            store=store,
            vault=vault,
            ingest=self.ingest,
            dispatcher=self.dispatcher,
            registry=registry,
            base_url="https://nine.example",
        )

    async def shop(
        self,
        *,
        org: str = "acme",
        user: str = "ada",
        name: str = "lead_router",
        actor: Actor | None = None,
        entrypoints: Sequence[str] = ("main.py:on_lead",),
    ) -> Shop:
        """Make a person (unless given), and their project with an active deployment."""
        actor = actor or await a_person(self.store, org=org, name=user)
        project = await a_project(self.store, self.vault, actor, name=name)
        build = await a_build(self.store, project, entrypoints=entrypoints)
        return Shop(actor, project, build, await a_deployment(self.store, build))

    async def event(self, event_id: str) -> Event:
        """Read an event."""
        found = await self.store.read(lambda tx: events.by_id(tx, event_id))
        assert found is not None
        return found

    async def all_events(self, project_id: str) -> list[Event]:
        """Read a project's events, oldest first."""
        wanted = events.Wanted()
        found = await self.store.read(
            lambda tx: events.of_project(tx, project_id, wanted=wanted, before=None, limit=10_000)
        )
        return found[::-1]

    async def all_sessions(self, org_id: str, **filters: Any) -> list[Session]:
        """Read an org's sessions, oldest first."""
        found = await self.store.read(
            lambda tx: sessions.listing(tx, org_id, sessions.Filters(**filters), before=None, limit=10_000)
        )
        return found[::-1]


def a_new_event(project_id: str, **changes: Any) -> NewEvent:
    """Make an event that nobody has recorded yet."""
    values = {
        "project_id": project_id,
        "source_key": "key-1",
        "event_type": "lead",
        "data": {"ChangeEventHeader": {"changeType": "CREATE"}, "Company": "Acme"},
    }
    return NewEvent(**{**values, **changes})


def a_request(slug: str = "slug", **changes: Any) -> WebhookRequest:
    """Make a request to a webhook, as the HTTP server reads it."""
    values = {
        "slug": slug,
        "path_suffix": "",
        "method": "POST",
        "raw_url": f"https://nine.example/webhooks/{slug}",
        "path": f"/webhooks/{slug}",
        "query": [],
        "headers": [("content-type", "application/json")],
        "body": b'{"id": 7}',
        "remote_addr": "203.0.113.9",
    }
    return WebhookRequest(**{**values, **changes})
