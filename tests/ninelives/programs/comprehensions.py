"""Calls in every corner of the grammar."""

import os
from pathlib import Path

import ninelives


@ninelives.step
def tick(value):
    return value


def default(value=tick(0), *, other=None):
    return value if other is None else other


def kind(value):
    match value:
        case {"kind": str(name), **rest} if tick(len(rest)) > 0:
            return f"{name}+{len(rest)}"
        case [first, *others] if tick(first):
            return sum(others)
        case Path() as path:
            return path.name
        case _:
            return "other"


class Table:
    rows = [tick(n) for n in range(2)]
    first, *others = rows

    def __getitem__(self, key):
        return tick(key) * 2

    def __contains__(self, item):
        return tick(item) in self.rows

    def __iter__(self):
        yield from (tick(row) for row in self.rows)

    def __enter__(self):
        return tick("in")

    def __exit__(self, *error):
        return tick(error[0] is ValueError)

    def __len__(self):
        return tick(5)

    def __lt__(self, other):
        return tick(True)


def main(event):
    table = Table()
    squares = [tick(n) ** 2 for n in range(4) if tick(n) % 2]
    lookup = {tick(k): tick(v) for k, v in {"a": 1, "b": 2}.items()}
    names = {tick(n) for n in "aab"}
    lazy = (tick(n) for n in range(3))
    text = f"{tick('x')!r:>5} {tick(3):0{tick(4)}d} {tick('a')=}"
    kinds = [kind({"kind": "k", "n": 1}), kind([1, 2, 3]), kind(Path("/a/b")), kind(4)]
    chained = (
        tick("  Chained ")
        .strip()
        .lower()
        .replace(
            tick("c"),
            "k",
        )
    )
    with table as inside, Table():
        print(inside)
        raise ValueError("swallowed")
    if (n := tick(2)) and tick(0) or not tick(0):
        print("walrus", n)
    a, *b = map(tick, [1, 2, 3])
    sorted_ = sorted([3, 1, 2], key=lambda v: tick(-v))
    total = sum(tick(n) for n in range(3))
    least = min([Table(), Table()])
    assert tick(True), tick("never")
    del lookup[tick("a")]
    return [
        squares,
        lookup,
        sorted(names),
        list(lazy),
        text,
        kinds,
        chained,
        a,
        b,
        sorted_,
        total,
        len(table),
        table[4],
        1 in table,
        list(table),
        default(),
        default(other=tick(1)),
        isinstance(least, Table),
        os.path.join("a", tick("b")),
        tick(1) if tick(0) else tick(2),
        any(tick(n) for n in [0, 1, 2]),
    ]
