"""Asynchronous clients by hand: made, used by many tasks, streamed from, closed; results as they come."""

import asyncio

import httpx2


async def fetch(client, number):
    answer = await client.get("/orders", params={"page": number})
    return number, answer.json()["next"]


async def main(event):
    client = httpx2.AsyncClient(base_url=event.data.url, timeout=10)
    try:
        found = []
        for done in asyncio.as_completed([fetch(client, n) for n in (1, 2, 3)]):
            found.append(await done)
        tasks = {asyncio.create_task(fetch(client, n), name=f"page-{n}") for n in (1, 2)}
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        rest = await asyncio.gather(*pending)
        names = sorted(task.get_name() for task in tasks)
        response = await client.post("/invoices", json={"done": 1})
        body = response.json()
    finally:
        await client.aclose()
    return [sorted(found), len(done) + len(rest), names, body["done"]]
