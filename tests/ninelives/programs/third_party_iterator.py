"""A client whose results come page by page while one loops over them."""

from itertools import islice

import shoplib

import ninelives


@ninelives.live
def connect(url):
    return shoplib.connect(url)


def main(event):
    shop = connect(event.data.url)
    total = 0
    for order in shop.orders():
        print(order.number, order.amount)
        total += order.amount
    first = next(iter(shop.orders()))
    some = list(islice(shop.orders(), 2))
    names = [order.number for order in shop.orders() if order.amount > 10]
    everything = list(shop.orders())
    best = max(shop.orders(), key=lambda order: order.amount)
    pairs = [(n, order.number) for n, order in enumerate(shop.orders())]
    orders = iter(shop.orders())
    second = (next(orders), next(orders))[1]
    rest = [order.number for order in orders]
    again = list(zip(shop.orders(), ["a", "b"], strict=False))
    return [
        total,
        first.number,
        [o.number for o in some],
        names,
        len(everything),
        best.number,
        pairs,
        second.number,
        rest,
        [(o.number, name) for o, name in again],
    ]
