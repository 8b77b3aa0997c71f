"""The same for `AsyncExitStack`, with a client that is lost with its process."""

import contextlib

import httpx2


async def main(event):
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx2.AsyncClient(base_url=event.data.url))
        stack.push_async_callback(client.post, "/left", json={})
        first = (await client.get("/orders?page=1")).json()["next"]
        second = (await client.get("/orders?page=2")).json()["next"]
    return [first, second]
