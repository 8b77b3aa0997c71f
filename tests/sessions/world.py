"""A small world for tests of sessions: one project with a build in service, and a journal over a real store."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from factories import a_build, a_deployment, a_person, a_project

from ninelives_server import ids
from ninelives_server.events.children import Children
from ninelives_server.events.filters import Filters
from ninelives_server.events.ingest import Ingest
from ninelives_server.model.actors import Actor, ActorKind
from ninelives_server.model.projects import Build, Deployment, Project
from ninelives_server.model.sessions import NewSession, Session, SessionState
from ninelives_server.sessions.calls import Calls
from ninelives_server.sessions.journal import Claimed, Journal
from ninelives_server.sessions.limits import Limits
from ninelives_server.sessions.records import Answer, Begin, Call, Died, Done, Park, Put, Record
from ninelives_server.sessions.service import Sessions
from ninelives_server.sessions.start import Starts
from ninelives_server.sessions.transfer import Transfer
from ninelives_server.settings import JournalSettings
from ninelives_server.store import workers
from ninelives_server.store.core import Store, Tx
from ninelives_server.vault.vault import Vault

AT = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)


class Variables:
    """A project's variables."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {"CHANNEL": "#sales"}

    def environment(self, tx: Tx, project_id: str) -> Mapping[str, str]:
        return dict(self.values)


class Accounts:
    """A connection with an access token."""

    def __init__(self) -> None:
        self.token = "00Dxx!access"

    def session_environment(
        self, tx: Tx, project_id: str, actor: Actor
    ) -> tuple[Mapping[str, str], frozenset[str]]:
        assert actor.kind is ActorKind.SESSION
        return {"crm__oauth_access_token": self.token}, frozenset({self.token})


def record(n: int = 0, *, value: bytes = b"value", **fields: object) -> Record:
    """A finished step."""
    base = Record(
        track="call",
        strand="0",
        n=n,
        kind="step",
        name="requests.post",
        digest=hashlib.sha256(b"args").digest(),
        status="ok",
        attempt=1,
        started_at=AT,
        ended_at=AT,
        value=value,
        blob=None,
        preview=b'{"args":[]}',
    )
    return base._replace(**fields)


def log_record(n: int, text: str) -> Record:
    """Something printed."""
    return record(n, value=text.encode(), track="log", kind="log", name="print", digest=b"", preview=None)


class Undispatched:
    """Nobody dispatches here: children are dispatched in the unit that records them."""

    def soon(self, event_ids: Sequence[str]) -> None:
        raise AssertionError(f"{event_ids} wait for dispatch")


@dataclass
class World:
    """One project, and what cares for its sessions."""

    store: Store
    vault: Vault
    actor: Actor
    project: Project
    build: Build
    deployment: Deployment
    limits: Limits = field(default_factory=Limits)
    variables: Variables = field(default_factory=Variables)
    accounts: Accounts = field(default_factory=Accounts)
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.starts = Starts(
            vault=self.vault,
            variables=self.variables,
            accounts=self.accounts,
            base_url="http://localhost:9980",
            limits=self.limits,
        )
        self.filters = Filters()
        self.ingest = Ingest(
            store=self.store, vault=self.vault, filters=self.filters, dispatcher=Undispatched()
        )
        self.children = Children(ingest=self.ingest, sessions=self.starts)
        self.journal = Journal(
            store=self.store,
            vault=self.vault,
            starts=self.starts,
            calls=Calls(vault=self.vault, starts=self.starts, filters=self.filters, children=self.children),
        )
        self.sessions = Sessions(store=self.store, vault=self.vault, starts=self.starts)

    async def keep(self, session_id: str, epoch: int, value: bytes) -> str:
        """Store a large value of a session's."""
        return await Transfer(store=self.store, vault=self.vault).keep(session_id, epoch, value)

    @classmethod
    async def made(cls, store: Store, vault: Vault, *, name: str = "lead_router", **journal: int) -> "World":
        await store.write(vault.start)
        actor = await a_person(store, org=f"org of {name}", name=f"owner of {name}")
        project = await a_project(store, vault, actor, name=name)
        build = await a_build(store, project, entrypoints=("main.py:on_lead", "main.py:child"))
        deployment = await a_deployment(store, build)
        return cls(
            store, vault, actor, project, build, deployment, Limits(journal=JournalSettings(**journal))
        )

    def a_new(self, **fields: object) -> NewSession:
        values: dict[str, object] = {
            "id": ids.new("ses"),
            "org_id": self.project.org_id,
            "project_id": self.project.id,
            "deployment_id": self.deployment.id,
            "build_id": self.build.id,
            "entrypoint": "main.py:on_lead",
            "is_durable": True,
            "data": {"lead": "00Q"},
            "event_meta": {"event_id": "evt_1", "event_type": "lead"},
        }
        return NewSession(**{**values, **fields})

    async def session(self, **fields: object) -> Session:
        """Make a session."""
        new = self.a_new(**fields)
        made = await self.store.write(lambda tx: self.starts.create(tx, new))
        assert made is not None
        return made

    async def running(self, worker_id: str = "wrk_1", **fields: object) -> tuple[str, int]:
        """Make a session that a worker runs; return its id and epoch."""
        session = await self.session(**fields)
        return session.id, await self.claim(session.id, worker_id)

    async def claim(self, session_id: str, worker_id: str = "wrk_1") -> int:
        """Have a worker run a session; return the epoch."""
        claimed = await self.journal.claim(worker_id, session_id)
        assert isinstance(claimed, Claimed), claimed
        return claimed.epoch

    async def worker(self, worker_id: str = "wrk_1") -> None:
        """Make a worker that is there."""
        await self.store.write(
            lambda tx: workers.connected(tx, worker_id, name="w", slots=4, python="3.11", isolation="none")
        )

    async def state(self, session_id: str) -> SessionState:
        """Return a session's state."""
        return (await self.sessions.get(self.actor, session_id)).session.state

    def put(self, sid: str, epoch: int, what: Record) -> Put:
        return Put(sid, epoch, next(self.numbers), what)

    def call(
        self, sid: str, epoch: int, name: str, at: tuple[str, int] | None = ("0", 0), **args: object
    ) -> Call:
        return Call(sid, epoch, next(self.numbers), at, name, args, b"", b"d", AT, None)

    def park(self, sid: str, epoch: int, until: datetime | None = None) -> Park:
        return Park(sid, epoch, next(self.numbers), until)

    async def begin(self, sid: str, epoch: int) -> Answer:
        """Say that the code of a session begins; return what its worker is told."""
        return (await self.journal.commit([Begin(sid, epoch)]))[0]

    def done(self, sid: str, epoch: int, **fields: object) -> Done:
        values = {"state": SessionState.COMPLETED, "error": None, "result": b'{"ok":true}', **fields}
        return Done(sid, epoch, next(self.numbers), **values)  # type: ignore[arg-type]

    def died(self, sid: str, epoch: int, **fields: object) -> Died:
        values = {"signal": 9, "exit_code": None, "reason": "", "stderr": "", **fields}
        return Died(sid, epoch, **values)  # type: ignore[arg-type]
