"""What depends on time and chance comes back the same."""

import datetime
import random
import secrets
import time
import uuid

import requests


def main(event):
    began = time.time()
    key = str(uuid.uuid4())
    requests.post(f"{event.data.url}/invoices", json={"key": key}, timeout=10)
    now = datetime.datetime.now(datetime.UTC)
    random.seed(event.data.get("seed", 3))
    picked = random.sample(range(100), 3)
    requests.post(f"{event.data.url}/invoices", json={"token": secrets.token_hex(4)}, timeout=10)
    print(len(key), picked)
    deck = list(range(5))
    random.Random(1).shuffle(deck)
    assert now.timestamp() >= began
    assert time.perf_counter() <= time.perf_counter()
    return [picked, deck, datetime.date.today() >= datetime.date(2020, 1, 1)]
