"""The project's own asynchronous iterators, contexts and awaitables; callbacks, futures, shields."""

import asyncio

import ninelives


@ninelives.step
async def tick(value):
    await asyncio.sleep(0)
    return value


class Pages:
    def __init__(self, count):
        self.count = count

    def __aiter__(self):
        self.at = 0
        return self

    async def __anext__(self):
        if self.at >= self.count:
            raise StopAsyncIteration
        self.at += 1
        return await tick(self.at)


class Later:
    def __init__(self, value):
        self.value = value

    def __await__(self):
        return tick(self.value).__await__()


class Pool:
    async def __aenter__(self):
        return await tick("pool")

    async def __aexit__(self, *error):
        await tick("closed")
        return False


async def main(event):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(future.set_result, "soon")
    rung = loop.create_future()
    loop.call_later(0.01, rung.set_result, "later")
    seen = []
    task = asyncio.create_task(tick("task"))
    task.add_done_callback(lambda done: seen.append(done.result()))
    async with Pool() as pool:
        pages = [page async for page in Pages(3)]
        doubled = {page: await tick(page * 2) async for page in Pages(2)}
    shielded = await asyncio.shield(tick("shielded"))
    await task
    await asyncio.sleep(0)
    return [pool, pages, doubled, await Later("later"), await future, await rung, seen, shielded]
