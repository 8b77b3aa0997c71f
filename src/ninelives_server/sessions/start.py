"""The start document: what a session is given once and for all when it is made, and again at each start.

Inputs, event, variables, seed, hash seed and time zone are pinned and sealed with the session, so that every
process of it sees the same. Only access tokens are added fresh at each start of a process, because they
run out.
"""

import json
import secrets
import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, Protocol

from ninelives import arguments
from ninelives_server.model.actors import Actor, ActorKind, Role
from ninelives_server.model.sessions import SEMANTICS, NewSession, Session
from ninelives_server.sessions.limits import Limits
from ninelives_server.store import sessions, surroundings
from ninelives_server.store.core import Tx
from ninelives_server.store.sessions import Pinned
from ninelives_server.vault.vault import Vault

#: A shorter secret is not masked: it would black out half of what people read. characters
SHORTEST_SECRET = 4


class Variables(Protocol):
    """Where a project's variables come from (`projects.service`)."""

    def environment(self, tx: Tx, project_id: str) -> Mapping[str, str]:
        """Return a project's variables, opened."""
        ...


class Accounts(Protocol):
    """Where connections' part of the environment comes from (`connections.service`)."""

    def session_environment(
        self, tx: Tx, project_id: str, actor: Actor
    ) -> tuple[Mapping[str, str], AbstractSet[str]]:
        """Return the environment of a project's connections, and which of its values are masked."""
        ...


def _context(session_id: str) -> str:
    return f"sessions:{session_id}:sealed_start"


class Starts:
    """Makes sessions, and the first frame that their processes get."""

    def __init__(
        self,
        *,
        vault: Vault,
        variables: Variables,
        accounts: Accounts,
        base_url: str,
        ca_file: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.limits: Final = limits or Limits()
        self._vault = vault
        self._variables = variables
        self._accounts = accounts
        self._base_url = base_url
        self._ca_file = ca_file

    def create(self, tx: Tx, new: NewSession) -> Session | None:
        """Insert a session and have it started or queued; `None` where its event and trigger have one."""
        pinned = {
            "data": new.data,
            "event": dict(new.event_meta),
            "env": self._environment(tx, new.project_id),
            "secret_env": sorted(surroundings.secret_names(tx, new.project_id)),
            "seed": secrets.token_hex(32),
            "hashseed": "0",
            "tz": "UTC",
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            "semantics": SEMANTICS,
            # Pinned: code that caught the refusal of a value must meet it again in a replay.
            "call_limit": arguments.LARGEST,
        }
        sealed = self._vault.seal(tx, new.project_id, _context(new.id), json.dumps(pinned).encode())
        if not sessions.insert(tx, new, sealed, SEMANTICS):
            return None
        tx.notify("session", new.id)
        tx.notify(*(("queue", new.project_id) if new.is_queued else ("start", new.id)))
        return sessions.by_id(tx, new.id)

    def copy(self, tx: Tx, source_id: str, new: NewSession, semantics: int) -> None:
        """Insert a session with everything that is pinned with another one, and have it started.

        `semantics` are those of the records that it gets; today's where it gets none.
        """
        plain = self._vault.open(
            tx, new.project_id, _context(source_id), sessions.pinned(tx, source_id).sealed_start
        )
        pinned = {**json.loads(plain), "semantics": semantics}
        sealed = self._vault.seal(tx, new.project_id, _context(new.id), json.dumps(pinned).encode())
        sessions.insert(tx, new, sealed, semantics)
        tx.notify("session", new.id)
        tx.notify("start", new.id)

    def pin(self, tx: Tx, session: Session, pinned_row: Pinned, **changes: str | int) -> Pinned:
        """Pin another `python` or `semantics` with a session that has no records yet."""
        context = _context(session.id)
        plain = self._vault.open(tx, session.project_id, context, pinned_row.sealed_start)
        pinned = {**json.loads(plain), **changes}
        sealed = self._vault.seal(tx, session.project_id, context, json.dumps(pinned).encode())
        rules = int(changes.get("semantics", pinned_row.semantics))
        sessions.set_start(tx, session.id, sealed, rules)
        return pinned_row._replace(sealed_start=sealed, semantics=rules)

    def _environment(self, tx: Tx, project_id: str) -> dict[str, str]:
        """Return variables and addresses, as AutoKitteh's sessions find them."""
        addresses = {
            f"{name}__webhook_url": f"{self._base_url}/webhooks/{slug}"
            for name, slug in surroundings.webhook_slugs(tx, project_id).items()
        }
        store = {"store_public_url": f"{self._base_url}/store/{project_id}"}
        return {**addresses, **store, **self._variables.environment(tx, project_id)}

    def frame(self, tx: Tx, session: Session, pinned_row: Pinned, *, records: int) -> dict[str, Any]:
        """Return the `start` frame of a session's next process."""
        plain = self._vault.open(tx, session.project_id, _context(session.id), pinned_row.sealed_start)
        pinned: dict[str, Any] = json.loads(plain)
        actor = actor_of(session)
        accounts, masked = self._accounts.session_environment(tx, session.project_id, actor)
        env = {**pinned["env"], **accounts}
        hidden = {pinned["env"].get(name, ""): name for name in pinned["secret_env"]}
        hidden.update({value: name for name, value in accounts.items() if value in masked})
        hidden.update({value: "secret" for value in masked if value not in hidden})
        named = {value: name for value, name in hidden.items() if len(value) >= SHORTEST_SECRET}
        return {
            "t": "start",
            "session_id": session.id,
            "entrypoint": session.entrypoint,
            "is_durable": session.is_durable,
            "env": env,
            "event": {"data": pinned["data"], **_event(pinned["event"])},
            "seed": pinned["seed"],
            "hashseed": pinned["hashseed"],
            "secrets": sorted(named),
            "secret_names": named,
            "semantics": pinned_row.semantics,
            "python": pinned["python"],
            "records": records,
            "limits": self.limits.of(pinned_row.limits),
            "ceilings": self.limits.ceilings(),
            "call_limit": pinned.get("call_limit", arguments.INLINE),
            "tz": pinned["tz"],
            "ca_file": self._ca_file,
            "connections": surroundings.connection_names(tx, session.project_id),
        }


def actor_of(session: Session) -> Actor:
    """Return a session as the one who asks: what the audit log names."""
    return Actor(kind=ActorKind.SESSION, id=session.id, org_id=session.org_id, role=Role.MEMBER)


def _event(meta: Mapping[str, str | None]) -> dict[str, str | None]:
    return {"event_id": meta.get("event_id"), "event_type": meta.get("event_type")}
