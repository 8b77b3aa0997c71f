"""An async handler: gathered steps, tasks, a task group, a lock between them."""

import asyncio

import httpx2


async def order(client, url, number, lock, seen):
    answer = await client.get(f"{url}/orders", params={"page": number})
    async with lock:
        seen.append(number)
    return len(answer.json()["items"])


async def main(event):
    lock, seen = asyncio.Lock(), []
    async with httpx2.AsyncClient(timeout=10) as client:
        counts = await asyncio.gather(*(order(client, event.data.url, n, lock, seen) for n in (1, 2, 3)))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(order(client, event.data.url, n, lock, seen)) for n in (1, 2)]
        more = [task.result() for task in tasks]
        answer = await client.post(f"{event.data.url}/invoices", json={"n": sum(counts)})
    return [counts, more, sorted(seen), answer.json()["n"]]
