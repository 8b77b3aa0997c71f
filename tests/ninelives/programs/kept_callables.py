"""Callables that somebody keeps and calls later: default factories, schedulers, callbacks of futures."""

import sched
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pydantic
import requests

import ninelives


@dataclass
class Order:
    number: str = field(default_factory=lambda: str(uuid.uuid4()))
    key: uuid.UUID = field(default_factory=uuid.uuid4)
    at: float = field(default_factory=time.time)
    tags: list = field(default_factory=list)


class Parcel(pydantic.BaseModel):
    key: uuid.UUID = pydantic.Field(default_factory=uuid.uuid4)
    at: float = pydantic.Field(default_factory=time.time)


@ninelives.step
def seen(at):
    """Another time than that of the first run is a divergence."""
    return at > 0


def main(event):
    url, done = event.data.url, []

    def ready(future):
        done.append(requests.post(f"{url}/ready", json={"of": future.result()}).status_code)

    order, parcel = Order(), Parcel()
    scheduler = sched.scheduler(time.time, time.sleep)
    scheduler.enter(0, 1, requests.post, (f"{url}/later",), {"json": {}})
    scheduler.run()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(lambda: requests.post(f"{url}/order", json={}).status_code)
        future.add_done_callback(ready)
    second = Order()
    times = [seen(order.at), seen(parcel.at), seen(second.at)]
    return [order.number, str(order.key), str(parcel.key), done, second.number, order.tags is second.tags, times]
