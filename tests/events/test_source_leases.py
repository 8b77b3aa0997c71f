"""Several servers and one stream: who reads it, who takes over, and what a reader may still store."""

import asyncio
from datetime import timedelta

import sqlalchemy as sa
from stream_world import a_lead, eventually, running

from ninelives_server.store import streams, tables


async def test_of_two_servers_one_reads_and_the_other_takes_over(here, org):
    """
    One stream at a time; when its server is gone, the other one goes on from the stored place.
    """
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))
    first, second = here.server(), here.server()
    one = asyncio.create_task(first.run())
    try:
        await here.until_state(shop, trigger, "listening")
        async with running(second, here.world.dispatcher):
            a_lead(org)
            await here.until_sessions(shop, 1)
            assert len(org.control.streams()) == 1
            one.cancel()
            await asyncio.gather(one, return_exceptions=True)
            a_lead(org)
            await here.until_sessions(shop, 2)
    finally:
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)

    assert len(await here.world.all_events(shop.project.id)) == 2


async def test_a_reader_whose_lease_was_taken_stores_nothing_more(here, org):
    """
    A server that was asleep too long finds its fence old: the other one's events are the only ones.
    """
    shop = await here.world.shop()
    connection = await here.connect(shop, org)
    trigger = await here.listen(shop, connection)

    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        [stream] = await here.world.store.read(
            lambda tx: streams.of_account(tx, connection.org_id, "salesforce", connection.account_key)
        )

        def steal(tx):
            tx.connection.execute(
                sa.update(tables.streams).values(
                    fence=tables.streams.c.fence + 1,
                    lease_owner="thief",
                    lease_until=tx.now + timedelta(seconds=2),
                )
            )

        [former] = org.control.streams()
        await here.world.store.write(steal)
        a_lead(org)
        await eventually(lambda: _gone_or_new(here, stream), "the reader to notice")
        await eventually(lambda: _reads_anew(org, former), "the stream to be read again")
        a_lead(org, "Later")
        await here.until_sessions(shop, 1)

    found = await here.world.store.read(lambda tx: streams.by_id(tx, stream.id))
    assert found.fence >= stream.fence + 2


async def _gone_or_new(here, stream):
    found = await here.world.store.read(lambda tx: streams.by_id(tx, stream.id))
    return True if found.fence > stream.fence + 1 else None


async def _reads_anew(org, former):
    """What the server says of its stream may still be of the former reader."""
    return any(stream["id"] != former["id"] for stream in org.control.streams()) or None


async def test_a_server_that_stops_gives_its_leases_back(here, org):
    """
    A restart must not wait for a lease to run out.
    """
    shop = await here.world.shop()
    connection = await here.connect(shop, org)
    trigger = await here.listen(shop, connection)

    async with running(here.server()):
        await here.until_state(shop, trigger, "listening")

    def lease_owner(tx):
        return tx.connection.execute(sa.select(tables.streams.c.lease_owner, tables.streams.c.state)).one()

    assert await here.world.store.read(lease_owner) == (None, "paused")
    assert await asyncio.to_thread(org.control.wait_streams, count=0, seconds=30)
