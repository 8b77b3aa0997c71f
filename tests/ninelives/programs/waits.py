"""Pauses of all kinds."""

import asyncio
import threading
import time

import ninelives


async def pause():
    await asyncio.sleep(0.01)
    return await asyncio.sleep(0.02, "rested")


def main(event):
    began = time.monotonic()
    time.sleep(0.02)
    ninelives.sleep(0.02)
    print(asyncio.run(pause()))
    ready = threading.Event()
    print(ready.wait(0.01))
    lock = threading.Lock()
    lock.acquire()
    print(lock.acquire(timeout=0.01))
    return time.monotonic() - began >= 0.07
