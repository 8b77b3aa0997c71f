"""Errors in tasks, in groups, with `return_exceptions`, a time-out, a cancellation."""

import asyncio

import ninelives


@ninelives.step
async def work(n):
    await asyncio.sleep(0)
    if n % 2:
        raise ValueError(f"odd {n}")
    return n


async def slow():
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        print("cancelled")
        raise


async def main(event):
    found = await asyncio.gather(*(work(n) for n in range(4)), return_exceptions=True)
    print([str(item) for item in found])
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(work(1))
            group.create_task(slow())
    except* ValueError as group:
        print(len(group.exceptions))
    try:
        async with asyncio.timeout(0.02):
            await slow()
    except TimeoutError:
        print("timed out")
    try:
        await asyncio.wait_for(slow(), 0.02)
    except TimeoutError:
        print("timed out again")
    task = asyncio.create_task(slow())
    await asyncio.sleep(0)
    task.cancel()
    return [task.cancelled(), await asyncio.gather(task, return_exceptions=True) is not None]
