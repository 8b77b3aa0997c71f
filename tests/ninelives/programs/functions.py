"""Functions as values: dispatch, partial methods, cached properties, operators, sorting keys, reduce."""

import functools
import itertools
import operator
from dataclasses import dataclass, field
from typing import NamedTuple

import ninelives

LOG = []


@ninelives.step
def tick(value=1):
    return value


@functools.singledispatch
def show(value):
    return f"other {tick(value)}"


@show.register
def _(value: int):
    return f"int {tick(value)}"


@show.register(list)
def _(value):
    return [show(item) for item in value]


@functools.total_ordering
class Version:
    def __init__(self, text):
        self.parts = tuple(map(int, text.split(".")))

    def __eq__(self, other):
        return self.parts == other.parts

    def __lt__(self, other):
        return tick(self.parts < other.parts)

    def __hash__(self):
        return hash(self.parts)


class Point(NamedTuple):
    x: int
    y: int = 0

    def moved(self, by):
        return self._replace(x=self.x + tick(by))


@dataclass
class Config:
    name: str
    size: int = field(default_factory=lambda: tick(3))
    tags: list = field(default_factory=list)

    def __post_init__(self):
        self.tags.append(tick(self.name))

    @functools.cached_property
    def heavy(self):
        LOG.append("heavy")
        return tick(42)

    double = functools.partialmethod(lambda self, n: tick(n) * self.size, 2)

    @classmethod
    def of(cls, **options):
        return cls(**options)

    @staticmethod
    def plain(n):
        return tick(n)


def main(event):
    config = Config.of(name="c")
    versions = sorted(map(Version, ["1.10", "1.2", "1.9"]))
    groups = {k: list(g) for k, g in itertools.groupby(sorted([3, 1, 2, 4], key=lambda n: n % 2), key=lambda n: tick(n % 2))}
    total = functools.reduce(lambda a, b: tick(a + b), [1, 2, 3])
    add = functools.partial(operator.add, tick(5))
    pairs = list(itertools.starmap(lambda a, b: tick(a * b), [(1, 2), (3, 4)]))
    filtered = list(filter(tick, [0, 1, 2]))
    taken = list(itertools.takewhile(lambda n: tick(n) < 3, itertools.count()))
    best = max({"a": 1, "b": 3}.items(), key=lambda item: tick(item[1]))
    compose = lambda *fns: functools.reduce(lambda f, g: lambda x: g(f(x)), fns)
    return [
        show(1), show("s"), show([1, "a"]), [v.parts for v in versions], groups, total, add(1), pairs, filtered, taken,
        best, Point(1).moved(2), config.heavy + config.heavy, config.double(), config.plain(7), config.size, config.tags,
        compose(tick, str, len)(1000), LOG, getattr(config, "plain")(8), operator.methodcaller("plain", 9)(config),
    ]
