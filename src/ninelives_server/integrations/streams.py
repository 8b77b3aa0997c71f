"""What a source of events is: the other half of an integration, for services that push or stream.

A provider that has events puts an object named `source` into its module `events.py`; the registry finds it
there. Who reads it (leases, cursors, fan-out) is `events.sources`' business.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ninelives_server.integrations.hosts import HostRule
from ninelives_server.integrations.http import Outbound


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """What a reader needs to speak for a connection now."""

    token: str = field(repr=False)
    instance_url: str
    org_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a source is given.

    Attributes:
        settings: Of one of the connections with this account, such as `pubsub_endpoint`.
        token: Returns a good token; told the one that was refused, a different one.
        insecure_hosts: See `hosts.check`.
        ca_file: Trusted beside the system's authorities, for streams that are no HTTP.
    """

    settings: Mapping[str, str]
    account_key: str
    token: Callable[[str | None], Awaitable[ApiToken]]
    http: Outbound
    rule: HostRule
    insecure_hosts: frozenset[str] = frozenset()
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One thing that happened at the service, decoded."""

    source_key: str
    event_type: str
    data: Mapping[str, object] = field(repr=False)
    record_id: str | None = None
    memo: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Events and the cursor that covers them; no events: a sign of life with a newer cursor.

    Attributes:
        gap: What may be missing before this batch, for people; empty where nothing is.
    """

    events: tuple[Received, ...]
    cursor: bytes | None
    at: datetime
    is_keepalive: bool = False
    gap: str = ""


class Source(Protocol):
    """Reads the events of one service."""

    def topic_hint(self, event_type: str) -> str:
        """Return the topic of an event type without asking the service; its case may not be the exact one."""
        ...

    async def topic_for(self, reading: Reading, event_type: str) -> str:
        """Return the topic that a trigger with this event type needs.

        Raises:
            Invalid: The service has nothing of that name.
        """
        ...

    async def blocked(self, reading: Reading, event_type: str) -> str:
        """Return why the service would send nothing, as a sentence for people; empty where it would."""
        ...

    def listen(self, reading: Reading, topic: str, cursor: bytes | None) -> AsyncGenerator[Batch, None]:
        """Yield batches from after the cursor, or from now, for as long as the caller reads.

        Raises:
            NeedsAdmin, NeedsReauth: Nobody but a person can make it work; retrying is of no use.
            Transient: The stream broke; listen again from the last cursor.
        """
        ...
