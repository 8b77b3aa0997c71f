"""Salesforce as a source of events: which topic a trigger needs, whether anything would come, reading it.

The registry finds `source` here. Leases, cursors in the database and fan-out are `events.sources`' business;
how the Pub/Sub API is spoken that of `pubsub`.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from ninelives_server.clock import Clock, SystemClock
from ninelives_server.errors import Invalid, NeedsAdmin, ProviderError, Transient
from ninelives_server.integrations import hosts
from ninelives_server.integrations.streams import ApiToken, Batch, Reading, Received
from ninelives_server.log import get
from ninelives_server.oauth.messages import Answer, Request
from ninelives_server.providers.salesforce import decode, environment, identity, pubsub
from ninelives_server.providers.salesforce.decode import Schemas
from ninelives_server.providers.salesforce.pubsub import CursorRefused, PubSub, Subscription, TokenRefused

logger = get(__name__)

#: All entities that are selected for Change Data Capture.
ALL_CHANGES = "/data/ChangeEvents"
ANY_TYPE = frozenset({"", "*"})
_WHERE = "Setup > Change Data Capture"
_MEMBERS = "SELECT SelectedEntity FROM PlatformEventChannelMember WHERE EventChannel = 'ChangeEvents'"
#: An object that is not there may be made one day; until then it is looked for this often. seconds
_ASK_AGAIN = 120.0


def event_topic(name: str) -> str:
    """Return the topic of an object: its changes, or a platform event itself.

    `Lead` -> `/data/LeadChangeEvent`, `Visit__c` -> `/data/Visit__ChangeEvent`, `Low_Ink__e` ->
    `/event/Low_Ink__e` (Pub/Sub API, "Event Topics").
    """
    if name.endswith("__e"):
        return f"/event/{name}"
    return f"/data/{change_event(name)}"


def change_event(name: str) -> str:
    """Return the name of an object's change event."""
    return f"{name.removesuffix('__c')}__ChangeEvent" if name.endswith("__c") else f"{name}ChangeEvent"


class SalesforceSource:
    """Reads change events and platform events over the Pub/Sub API."""

    def __init__(
        self, *, clock: Clock | None = None, longest_silence: float = pubsub.LONGEST_SILENCE
    ) -> None:
        self._clock = clock or SystemClock()
        self._longest_silence = longest_silence
        self._names: dict[str, tuple[float, dict[str, str]]] = {}

    def topic_hint(self, event_type: str) -> str:
        """Return the topic of an event type with its entity in lower case, without asking the org."""
        return ALL_CHANGES if event_type in ANY_TYPE else event_topic(event_type)

    async def topic_for(self, reading: Reading, event_type: str) -> str:
        """Return the topic that a trigger with this event type needs: an entity's own, or that of all.

        Raises:
            Invalid: The org has no object of that name.
            Transient: The org cannot be asked now.
        """
        if event_type in ANY_TYPE:
            return ALL_CHANGES
        return event_topic(await self._entity(reading, event_type))

    async def blocked(self, reading: Reading, event_type: str) -> str:
        """Return why Salesforce would send nothing, as a sentence; empty where it would, or will not say."""
        try:
            entity = "" if event_type in ANY_TYPE else await self._entity(reading, event_type)
        except Invalid as error:
            return str(error)
        if entity.endswith("__e"):
            return ""
        selected = await self._selected(reading)
        if selected is None:
            return ""
        if not entity:
            return "" if selected else f"No entity is selected in {_WHERE}"
        return "" if change_event(entity) in selected else f"{entity} is not selected in {_WHERE}"

    async def _entity(self, reading: Reading, event_type: str) -> str:
        """Return the object whose name in lower case is the event type."""
        asked_at, known = self._names.get(reading.account_key, (-math.inf, {}))
        now = asyncio.get_running_loop().time()
        if event_type not in known and now - asked_at > _ASK_AGAIN:
            known = await self._ask_names(reading)
            self._names[reading.account_key] = (now, known)
        if event_type in known:
            return known[event_type]
        hint = f"; write {event_type.lower()!r}" if event_type.lower() in known else ""
        raise Invalid(
            f"this Salesforce org has no object whose name in lower case is {event_type!r}{hint}",
            code="no_such_entity",
        )

    async def _ask_names(self, reading: Reading) -> dict[str, str]:
        answer = await self._get(reading, f"{identity.API}/sobjects")
        found = answer.document().get("sobjects")
        if not answer.ok or not isinstance(found, list):
            raise Transient(f"Salesforce does not list its objects: {_words(answer)}")
        return {str(item["name"]).lower(): str(item["name"]) for item in found if isinstance(item, Mapping)}

    async def _selected(self, reading: Reading) -> set[str] | None:
        """Return the change events that are selected, `None` where the user may not see the setup."""
        answer = await self._get(reading, f"{identity.API}/tooling/query?q={quote(_MEMBERS)}")
        records = answer.document().get("records")
        if answer.ok and isinstance(records, list):
            return {str(item.get("SelectedEntity")) for item in records if isinstance(item, Mapping)}
        if answer.status in {400, 403, 404}:
            logger.info("salesforce.selection_unknown", status=answer.status, words=_words(answer))
            return None
        raise Transient(f"Salesforce does not say what is selected in {_WHERE}: {_words(answer)}")

    async def _get(self, reading: Reading, path: str) -> Answer:
        """Ask the REST API, with a new token where the first one is refused."""
        token = await reading.token(None)
        answer = await _send(reading, token, path)
        if answer.status == 401:
            answer = await _send(reading, await reading.token(token.token), path)
        return answer

    async def listen(self, reading: Reading, topic: str, cursor: bytes | None) -> AsyncGenerator[Batch, None]:
        """Yield batches from after the cursor, or from now, for as long as the caller reads.

        The first batch is empty and says that the subscription stands. A batch without events has a newer
        cursor: a sign of life. A token that is refused is replaced once; a cursor that is refused is given
        up, which the next batch reports as a gap.

        Raises:
            NeedsAdmin, NeedsReauth: Nobody but a person can make it work.
            Transient: The stream broke; listen again from the last cursor.
        """
        endpoint = _endpoint(reading)
        roots = pubsub.trusted_roots(reading.ca_file)
        token, renewed, gap = await reading.token(None), False, ""
        while True:
            try:
                async with (
                    PubSub(endpoint, token, roots=roots) as client,
                    aclosing(self._read(client, topic, cursor, gap)) as batches,
                ):
                    async for batch in batches:
                        yield batch
                        cursor, renewed, gap = batch.cursor or cursor, False, ""
            except TokenRefused as error:
                if renewed:
                    raise Transient(str(error)) from None
                token, renewed = await reading.token(token.token), True
            except CursorRefused as error:
                if cursor is None:
                    raise Transient(str(error)) from None
                cursor, gap = None, str(error)

    async def _read(
        self, client: PubSub, topic: str, cursor: bytes | None, gap: str
    ) -> AsyncGenerator[Batch, None]:
        schemas = Schemas()
        info = await client.topic(topic)
        if not info.can_subscribe:
            raise NeedsAdmin(f"the user who authorised may not read {topic}")
        async with client.subscription(topic, cursor, silence=self._longest_silence) as stream:
            yield self._batch((), None, gap=gap)
            while True:
                yield await self._next(client, stream, schemas)
                await stream.more()

    async def _next(self, client: PubSub, stream: Subscription, schemas: Schemas) -> Batch:
        message = await stream.take()
        events, broken = [], []
        for item in message.events:
            schema_id = item.event.schema_id
            schema = schemas.find(schema_id) or schemas.add(schema_id, await client.schema(schema_id))
            try:
                events.append(decode.received(schema, item.event.id, item.event.payload))
            except ProviderError as error:
                broken.append(str(error))
        for words in broken:
            logger.error("salesforce.event_undecodable", words=words)
        cursor = message.events[-1].replay_id if message.events else message.latest_replay_id
        return self._batch(tuple(events), cursor or None, gap="; ".join(broken[:3]))

    def _batch(self, events: tuple[Received, ...], cursor: bytes | None, *, gap: str = "") -> Batch:
        return Batch(events=events, cursor=cursor, at=self._clock.now(), is_keepalive=not events, gap=gap)


def _endpoint(reading: Reading) -> str:
    """Return `host:port`, checked: nothing but Salesforce is told the token.

    Raises:
        Invalid: It is not an address of Salesforce.
    """
    endpoint = reading.settings.get("pubsub_endpoint") or environment.PUBSUB
    hosts.check(f"https://{endpoint}", reading.rule, reading.insecure_hosts)
    return endpoint


async def _send(reading: Reading, token: ApiToken, path: str) -> Answer:
    return await reading.http.send(
        Request(
            method="GET",
            url=f"{token.instance_url}{path}",
            headers={"Authorization": f"Bearer {token.token}", "Accept": "application/json"},
        ),
        reading.rule,
    )


def _words(answer: Answer) -> str:
    found: Any = answer.json()
    if isinstance(found, list) and found and isinstance(found[0], Mapping):
        return str(found[0].get("message", ""))[:300]
    return answer.failure or f"HTTP {answer.status}"


#: What the registry finds.
source = SalesforceSource()
