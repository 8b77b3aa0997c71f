"""Steps change what they are given: lists, dictionaries, sets, objects."""

import ninelives


class Basket:
    def __init__(self):
        self.items = []
        self.owner = {"name": "ann"}


@ninelives.step
def fill(basket, items, seen):
    basket.items.extend(items)
    basket.owner["filled"] = True
    items.append("more")
    seen.add(len(items))
    return items


@ninelives.step
def first(rows):
    return rows[0]


def main(event):
    basket, items, seen = Basket(), ["pen"], set()
    alias = items
    again = fill(basket, items, seen)
    print(again is items, alias, sorted(seen))
    fill(basket, items, seen)
    rows = [{"n": 1}, {"n": 2}]
    row = first(rows)
    row["n"] = 10
    print(row is rows[0], rows)
    return [basket.items, basket.owner, items, sorted(seen)]
