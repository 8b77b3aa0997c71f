"""What the surfaces call: one frozen bundle of services, made by `server.py`.

`api` and `web` find it at `request.app.state.services`. It stands below both, because neither may import
the other and both need the same things.
"""

import asyncio
from dataclasses import dataclass, field

from ninelives_server.access.audit import Audit
from ninelives_server.access.idempotency import Idempotency
from ninelives_server.access.service import Access
from ninelives_server.connections.flows import Flows
from ninelives_server.connections.service import Connections
from ninelives_server.engine.starter import Starter
from ninelives_server.events.filters import Filters
from ninelives_server.events.ingest import Ingest
from ninelives_server.events.replies import Replies
from ninelives_server.events.service import Events
from ninelives_server.events.webhooks import Webhooks
from ninelives_server.integrations.registry import Registry
from ninelives_server.projects.service import Projects
from ninelives_server.sessions.checks import Checks
from ninelives_server.sessions.journal import Journal
from ninelives_server.sessions.published import Published
from ninelives_server.sessions.service import Sessions
from ninelives_server.sessions.values import Values
from ninelives_server.settings import Settings
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that a request may need.

    Attributes:
        stopping: Set when the server begins to stop: streams end then.
    """

    settings: Settings
    store: Store
    vault: Vault
    access: Access
    audit: Audit
    idempotency: Idempotency
    registry: Registry
    projects: Projects
    connections: Connections
    flows: Flows
    sessions: Sessions
    checks: Checks
    values: Values
    journal: Journal
    events: Events
    ingest: Ingest
    filters: Filters
    webhooks: Webhooks
    replies: Replies
    published: Published
    starter: Starter
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
