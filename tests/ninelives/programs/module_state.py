"""Globals, module-level clients, caches, class attributes, and a registry filled by decorators."""

import collections
import threading

import requests

SESSION = requests.Session()
SESSION.headers["X-Global"] = "yes"
CACHE = {}
LOCK = threading.Lock()
HANDLERS = {}
counts = collections.Counter()


def handles(kind):
    def register(fn):
        HANDLERS[kind] = fn
        return fn

    return register


class Cached:
    instances = 0

    def __new__(cls, key):
        with LOCK:
            if key not in CACHE:
                CACHE[key] = super().__new__(cls)
                cls.instances += 1
        return CACHE[key]


@handles("page")
def page(url, number):
    counts["page"] += 1
    return SESSION.get(f"{url}/orders", params={"page": number}, timeout=10).json()["items"]


@handles("send")
def send(url, number):
    global SESSION
    counts["send"] += 1
    SESSION = requests.Session()
    return SESSION.post(f"{url}/invoices", json={"n": number}, timeout=10).json()["n"]


def main(event):
    found = [HANDLERS[kind](event.data.url, n) for n, kind in enumerate(["page", "send", "page"], start=1)]
    Cached("a"), Cached("a"), Cached("b")
    return [[len(found[0]), found[1], len(found[2])], dict(counts), Cached.instances]
