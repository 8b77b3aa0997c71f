"""Salesforce change events a second: decoded, sealed and committed with their cursor, on SQLite; and memory.

The parts are the product's own; only the network is left out: the batches lie ready, 100 events each, as the
Pub/Sub API sends them.
"""

import asyncio
import json
import resource
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / name) for name in ("", "events")]

import databases
from event_world import World
from factories import a_build, a_connection, a_deployment, a_person, a_project, a_trigger

from ninelives_server.clock import SystemClock
from ninelives_server.integrations.registry import Registry
from ninelives_server.model.events import NewEvent
from ninelives_server.model.triggers import TriggerType
from ninelives_server.providers.salesforce import decode
from ninelives_server.store import data_keys, streams
from ninelives_server.store.core import Store
from ninelives_server.store.streams import CursorSave, StreamKey
from ninelives_server.testing.fake_salesforce.behaviour import Behaviour
from ninelives_server.testing.fake_salesforce.org import Org
from ninelives_server.vault import keys
from ninelives_server.vault.vault import Vault

BATCH = 100
Message = tuple[str, bytes]


def messages(count: int) -> tuple[decode.Schema, list[list[Message]]]:
    """Have the fake org make one Lead, and return as many different events of its kind, in batches."""
    org = Org(clock=SystemClock(), behaviour=Behaviour())
    org.add_user(username="a@b.c", password="p", first_name="Ada", last_name="Admin", email="a@b.c")
    org.select_entities(["Lead"])
    lead = org.catalog.find("Lead")
    with org.writing(org.users()[0]["Id"], "bench") as unit:
        unit.insert(
            lead, {"LastName": "Byron", "FirstName": "Ada", "Company": "Acme", "Email": "ada@acme.test"}
        )
    [event] = org.bus.log.all()
    schema = org.bus.schema(event.schema_id)
    datum = schema.decode(event.payload)
    found: list[Message] = []
    for number in range(count):
        datum["ChangeEventHeader"]["commitNumber"] = number
        found.append((f"event-{number}", schema.encode(datum)))
    text = schema.json
    return decode.parse(text), [found[at : at + BATCH] for at in range(0, count, BATCH)]


def measure(count: int) -> tuple[float, float]:
    """Return events a second, and by how much memory has grown from a quarter of the way to its end. MB"""
    schema, batches = messages(count)
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(_measured(schema, batches, Path(directory)))


async def _measured(
    schema: decode.Schema, batches: list[list[Message]], directory: Path
) -> tuple[float, float]:
    template = await asyncio.to_thread(databases.sqlite_template, directory)
    async with databases.sqlite_store(template, directory / "bench.db") as store:
        vault = Vault(keys.parse("k1:" + "A" * 43 + "=", "the benchmark"), data_keys)
        await store.write(vault.start)
        return await _recorded(store, World(store, vault, Registry([])), schema, batches)


async def _recorded(
    store: Store, world: World, schema: decode.Schema, batches: list[list[Message]]
) -> tuple[float, float]:
    actor = await a_person(store)
    project = await a_project(store, world.vault, actor)
    await a_deployment(store, await a_build(store, project))
    connection = await a_connection(store, project)
    await a_trigger(
        store, project, type=TriggerType.CONNECTION, connection_id=connection.id, event_type="lead"
    )
    key = StreamKey(
        org_id=project.org_id, integration="salesforce", account_key="00D:005", topic="/data/LeadChangeEvent"
    )
    made = await store.write(lambda tx: streams.ensure(tx, key))
    stream = await store.write(lambda tx: streams.lease(tx, made.id, "bench", timedelta(hours=1)))
    assert stream is not None
    began, middle = time.perf_counter(), 0.0
    for number, batch in enumerate(batches):
        new = [_event(project.id, connection.id, schema, message) for message in batch]
        cursor = CursorSave(
            stream_id=stream.id, fence=stream.fence, cursor=number.to_bytes(8, "big"), events=len(new)
        )
        await store.write(lambda tx, new=new, cursor=cursor: world.ingest.record_in(tx, new, cursor))
        if number == len(batches) // 4:
            middle = _resident()
    seconds = time.perf_counter() - began
    return sum(map(len, batches)) / seconds, _resident() - middle


def _event(project_id: str, connection_id: str, schema: decode.Schema, message: Message) -> NewEvent:
    found = decode.received(schema, *message)
    return NewEvent(
        project_id=project_id,
        connection_id=connection_id,
        source_key=f"{connection_id}:{found.source_key}",
        event_type=found.event_type,
        data=found.data,
        memo=found.memo,
        record_id=found.record_id,
    )


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    rate, growth = measure(int(sys.argv[1]))
    print(json.dumps({"rate": rate, "growth_mb": growth}))
