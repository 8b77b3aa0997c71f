"""Blocking calls in threads of an event loop."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import requests


def fetch(url, page):
    return requests.get(url + "/orders", params={"page": page}, timeout=10).json()["next"]


def slow(n):
    time.sleep(0.01)
    return n


async def main(event):
    loop = asyncio.get_running_loop()
    first = await asyncio.to_thread(fetch, event.data.url, 1)
    with ThreadPoolExecutor(2) as pool:
        found = await asyncio.gather(
            *(loop.run_in_executor(pool, fetch, event.data.url, page) for page in (1, 2, 3)),
            asyncio.to_thread(slow, 5),
        )
    last = await loop.run_in_executor(None, slow, 6)
    return [first, found, last]
