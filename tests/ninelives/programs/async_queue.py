"""Producers and consumers over asyncio's queue, events, semaphores, and an async generator."""

import asyncio

import ninelives


@ninelives.step
async def double(n):
    await asyncio.sleep(0.001)
    return n * 2


async def numbers(limit):
    for n in range(limit):
        yield await double(n)


async def produce(queue, limit):
    async for n in numbers(limit):
        await queue.put(n)
    await queue.put(None)


async def consume(queue, done):
    found = []
    while (item := await queue.get()) is not None:
        found.append(item)
    done.set()
    return found


async def main(event):
    queue, done = asyncio.Queue(maxsize=2), asyncio.Event()
    limit = asyncio.Semaphore(2)

    async def limited(n):
        async with limit:
            return await double(n)

    _, found = await asyncio.gather(produce(queue, 4), consume(queue, done))
    await done.wait()
    first, rest = await asyncio.wait([asyncio.create_task(limited(n)) for n in range(4)])
    squares = [n async for n in numbers(3) if n]
    return [found, sorted(task.result() for task in first), len(rest), squares]
