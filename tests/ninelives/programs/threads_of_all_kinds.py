"""Strands in strands: a pool in a thread, a loop in a thread, tasks that start threads."""

import asyncio
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import ninelives


@ninelives.step
def tick(value):
    return value


async def coroutine(n):
    await asyncio.sleep(0.001)
    return tick(n)


def in_thread(results):
    with ThreadPoolExecutor(2) as pool:
        results["pool"] = sorted(pool.map(tick, range(3)))
    results["loop"] = asyncio.run(coroutine(7))
    results["id"] = str(uuid.uuid4())


async def run(results):
    thread = threading.Thread(target=in_thread, args=(results,), daemon=True)
    thread.start()
    found = await asyncio.gather(coroutine(1), asyncio.to_thread(tick, 2))
    await asyncio.to_thread(thread.join)
    future = asyncio.run_coroutine_threadsafe(coroutine(4), asyncio.get_running_loop())
    return found, await asyncio.wrap_future(future)


def main(event):
    results = {}
    found = asyncio.run(run(results))
    return [results, found, str(uuid.uuid4())]
