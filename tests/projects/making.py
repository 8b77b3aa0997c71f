"""Bundles and services for the tests of projects."""

import io
import tarfile
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ninelives_server import ids
from ninelives_server.errors import Invalid
from ninelives_server.events.filters import Filters
from ninelives_server.integrations.contract import AuthMode, Field
from ninelives_server.integrations.entered import GIVE_FIELD
from ninelives_server.integrations.registry import Registry
from ninelives_server.projects.requirements import Tell, unheard
from ninelives_server.projects.service import Projects
from ninelives_server.store import tables
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault

MANIFEST = """\
version: v1
project:
  name: lead_router
  display_name: Lead router
  retention: {sessions: 7}
  vars:
    - {name: CHANNEL, value: "#sales", description: where}
    - {name: API_KEY, value: "", secret: true}
  connections:
    - {name: crm, integration: salesforce}
    - {name: chat, integration: slack}
  triggers:
    - {name: lead, connection: crm, event_type: lead, call: main.py:on_lead, filter: data.x == 1}
    - {name: hook, type: webhook, call: main.py:on_open}
    - {name: nightly, schedule: "0 3 * * *", timezone: Europe/Berlin, call: main.py:on_lead}
"""

MAIN = "def on_lead(event):\n    pass\n\n\ndef on_open(event):\n    pass\n"


def tar_of(members: Mapping[str, bytes | str | tarfile.TarInfo]) -> bytes:
    """Pack members; a `TarInfo` is taken as it is, with what its name says."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, member in members.items():
            if isinstance(member, tarfile.TarInfo):
                member.name = name
                tar.addfile(member)
                continue
            data = member.encode() if isinstance(member, str) else member
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return raw.getvalue()


def a_bundle(manifest: str, *, main: str = MAIN, **more: str) -> bytes:
    """Pack a directory with a manifest and some code."""
    return tar_of({"ninelives.yaml": manifest, "main.py": main, **more})


class Service:
    """An integration with just what a deploy looks at."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.aliases = ()
        self.auth_modes = (
            AuthMode(
                name="oauth_private",
                title="Private app",
                uses_oauth=True,
                fields=(
                    Field(name="client_id", label="Client ID", required=True),
                    Field(name="client_secret", label="Client Secret", kind="secret", required=True),
                ),
            ),
        )


class ByKey(Service):
    """An integration that a key is enough for."""

    def __init__(self, name: str, *aliases: str) -> None:
        super().__init__(name)
        self.aliases = aliases
        self.auth_modes = (
            AuthMode(
                name="key",
                title="Key",
                uses_oauth=False,
                fields=(
                    Field(name="domain", label="Domain", required=True),
                    Field(name="token", label="Token", kind="secret", required=True),
                    Field(name="note", label="Note"),
                ),
            ),
        )


class ByClientSecret(Service):
    """An integration whose library needs the secret of an app."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        secret = Field(
            name="client_secret", label="Secret", kind="secret", required=True, is_client_secret=True
        )
        self.auth_modes = (AuthMode(name="app", title="App", uses_oauth=False, fields=(secret, GIVE_FIELD)),)


class Resolver:
    """Answers as a resolver does, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def resolve(self, requirements: str, tell: Tell = unheard) -> list[str]:
        self.asked.append(requirements)
        if "no-such-package" in requirements:
            raise Invalid("requirements.txt cannot be resolved: no-such-package was not found")
        names = [line.partition("==")[0].partition("~=")[0].strip() for line in requirements.splitlines()]
        return [f"{name}==1.0" for name in names if name]


class Grants:
    """Remembers which connections were disconnected."""

    def __init__(self, fails: bool = False) -> None:
        self.ended: list[str] = []
        self.fails = fails

    async def disconnect(self, actor: object, ref: str) -> object:
        self.ended.append(ref)
        if self.fails:
            raise Invalid("the provider cannot be reached")
        return None


def services(store: Store, vault: Vault, **more: Any) -> Projects:
    """Make the service with doubles for what belongs to others."""
    return Projects(
        store=store,
        vault=vault,
        registry=Registry(
            [Service("salesforce"), Service("slack"), ByKey("telegram", "chat"), ByClientSecret("forum")]
        ),
        filters=Filters(),
        resolver=Resolver(),
        grants=Grants(),
        **more,
    )


async def counts(store: Store) -> dict[str, int]:
    """Return how many rows each table has."""

    def count(tx):
        return {
            name: tx.connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for name, table in tables.metadata.tables.items()
        }

    return await store.read(count)


async def a_session(store: Store, project_id: str, deployment_id: str, build_id: str, state: str) -> str:
    """Make a session's row, as far as deployments look at it."""
    session_id = ids.new("ses")

    def make(tx):
        org_id = tx.connection.execute(
            sa.select(tables.projects.c.org_id).where(tables.projects.c.id == project_id)
        ).scalar_one()
        tx.connection.execute(
            sa.insert(tables.sessions).values(
                id=session_id,
                org_id=org_id,
                project_id=project_id,
                deployment_id=deployment_id,
                build_id=build_id,
                entrypoint="main.py:on_lead",
                is_durable=True,
                state=state,
                state_since=tx.now,
                memo={},
                sealed_start=b"",
                created_at=tx.now,
                created_by="system",
            )  # fmt: skip
        )

    await store.write(make)
    return session_id


async def end(store: Store, session_id: str) -> None:
    sessions = tables.sessions
    change = sa.update(sessions).where(sessions.c.id == session_id).values(state="completed")
    await store.write(lambda tx: tx.connection.execute(change.values(ended_at=tx.now)))
