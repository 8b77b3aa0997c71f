"""Dataclasses, properties, inheritance from a library's class, `__call__`, operators, context managers."""

import dataclasses
import json
from collections import UserDict
from contextlib import contextmanager
from enum import Enum

import requests


class Level(Enum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass(order=True)
class Lead:
    score: int
    name: str
    tags: list = dataclasses.field(default_factory=list)

    @property
    def level(self):
        return Level.HIGH if self.score > 50 else Level.LOW


class Api(requests.Session):
    def __init__(self, base):
        super().__init__()
        self.base = base
        self.made = 0

    def request(self, method, path, **options):
        self.made += 1
        return super().request(method, self.base + path, timeout=10, **options)


class Registry(UserDict):
    def __missing__(self, key):
        self[key] = Lead(len(self) * 40, key)
        return self[key]


class Rule:
    def __init__(self, api):
        self.api = api

    def __call__(self, lead):
        lead.tags.append(lead.level.name.lower())
        return self.api.post("/leads", json=dataclasses.asdict(lead)).json()["n"]


@contextmanager
def section(title):
    print("begin", title)
    try:
        yield title.upper()
    finally:
        print("end", title)


def main(event):
    api = Api(event.data.url)
    rule, registry = Rule(api), Registry()
    with section("leads") as title:
        numbers = [rule(registry[name]) for name in ("ann", "bob", "cid")]
    best = max(registry.values())
    return [title, numbers, json.loads(json.dumps(dataclasses.asdict(best))), api.made]
