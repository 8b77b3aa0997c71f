"""Servers that read the streams of fake Salesforce orgs, for the tests of sources."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from event_world import Shop, World
from factories import a_connection, a_trigger

from ninelives_server.connections.grants import AccessToken
from ninelives_server.errors import NeedsReauth
from ninelives_server.events.reader import Pace
from ninelives_server.events.sources import Sources, Timing
from ninelives_server.integrations.http import Outbound
from ninelives_server.integrations.registry import Registry
from ninelives_server.model.actors import Actor
from ninelives_server.model.connections import Account, Connection, ConnectionState
from ninelives_server.model.triggers import Trigger, TriggerType
from ninelives_server.store import connections
from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce

#: Fast enough for tests, slow enough for a busy machine.
FAST = Timing(
    reconcile=0.5,
    lease=3.0,
    pace=Pace(first_retry=0.05, last_retry=1.0, refused_retry=0.3, check_every=3600, recheck_every=0.3),
)


@dataclass
class OrgTokens:
    """Tokens of many orgs by account key, as `Connections.access_token` hands them out."""

    store: Any
    orgs: dict[str, FakeSalesforce]
    asked: int = 0

    def __post_init__(self) -> None:
        self._issued: dict[str, dict[str, str]] = {}
        self.revoked: set[str] = set()

    async def access_token(self, connection_id: str, actor: Actor, refused: str | None) -> AccessToken:
        self.asked += 1
        connection = await self.store.read(lambda tx: connections.by_id(tx, connection_id))
        assert connection.org_id == actor.org_id
        if connection.id in self.revoked:
            raise NeedsReauth("the grant was revoked; authorise the connection again")
        key = connection.account_key
        issued = self._issued.get(key)
        if issued is None or issued["access_token"] == refused:
            issued = self._issued[key] = self.orgs[key].control.issue_token()
        return AccessToken(
            connection_id=connection_id,
            token=issued["access_token"],
            instance_url=issued["instance_url"],
            org_id=issued["org_id"],
            user_id=issued["user_id"],
            expires_at=None,
            generation=1,
        )


class StreamWorld:
    """A database, fake orgs, and as many servers as wanted."""

    def __init__(self, world: World, orgs: list[FakeSalesforce]) -> None:
        self.world = world
        self.orgs = {_key(org): org for org in orgs}
        self.tokens = OrgTokens(world.store, self.orgs)
        self.registry = Registry.load()

    def server(self, timing: Timing = FAST, **changes: Any) -> Sources:
        """Make a server's sources."""
        ca_files = [org.ca_file for org in self.orgs.values()]
        values = {
            "store": self.world.store,
            "ingest": self.world.ingest,
            "registry": self.registry,
            "tokens": self.tokens,
            "http": Outbound(ca_file=ca_files[0], insecure_hosts=frozenset({"localhost"})),
            "ca_file": ca_files[0],
            "timing": timing,
        }
        return Sources(**{**values, **changes})

    async def connect(self, shop: Shop, org: FakeSalesforce, name: str = "crm") -> Connection:
        """Make an authorised connection of a project to an org."""
        details = org.control.issue_token()
        account = Account(
            org_id=details["org_id"],
            user=org.details.username,
            user_id=details["user_id"],
            instance_url=details["instance_url"],
            scopes=("api",),
        )
        return await a_connection(
            self.world.store,
            shop.project,
            name=name,
            state=ConnectionState.OK,
            settings={"pubsub_endpoint": org.details.pubsub_endpoint},
            account=account,
            account_key=_key(org),
        )

    async def listen(self, shop: Shop, connection: Connection, **changes: Any) -> Trigger:
        """Make a trigger that listens to a connection."""
        values = {"type": TriggerType.CONNECTION, "connection_id": connection.id, "event_type": "lead"}
        return await a_trigger(self.world.store, shop.project, **{**values, **changes})

    async def status(self, shop: Shop, trigger: Trigger) -> Any:
        """Read how a trigger fares."""
        self.world.events._registry = self.registry
        found = await self.world.store.read(lambda tx: _again(tx, trigger))
        return await self.world.events.trigger_status(shop.actor, found)

    async def until_state(self, shop: Shop, trigger: Trigger, state: str) -> Any:
        """Wait until a trigger's stream is in a state."""

        async def look() -> Any:
            status = await self.status(shop, trigger)
            return status if status.listening.state == state else None

        return await eventually(look, f"the stream to be {state}")

    async def until_sessions(self, shop: Shop, count: int) -> list[Any]:
        """Wait until a project has this many sessions."""

        async def look() -> Any:
            found = await self.world.all_sessions(shop.actor.org_id, project_id=shop.project.id)
            return found if len(found) >= count else None

        return await eventually(look, f"{count} sessions")


def _again(tx: Any, trigger: Trigger) -> Trigger:
    from ninelives_server.store import triggers

    found = triggers.by_id(tx, trigger.id)
    assert found is not None
    return found


def _key(org: FakeSalesforce) -> str:
    return org.details.org_id + ":005"


async def eventually(look: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    """Look until there is something to see."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        seen = await look()
        if seen is not None:
            return seen
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen"
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(*parts: Any) -> AsyncIterator[None]:
    """Run servers' parts until the block ends."""
    tasks = [asyncio.create_task(part.run()) for part in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def a_lead(org: FakeSalesforce, name: str = "Byron") -> str:
    """Make a Lead in an org."""
    return org.control.create_record(entity="Lead", fields={"LastName": name, "Company": "Acme"})
