"""The project's own generators, with steps inside them."""

import requests


def pages(url):
    page = 1
    while page:
        body = requests.get(url, params={"page": page}, timeout=10).json()
        yield from body["items"]
        page = body["next"]


def batched(items, size):
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def averager():
    total = count = 0
    average = None
    while True:
        value = yield average
        total += value
        count += 1
        average = total / count


def main(event):
    average = averager()
    next(average)
    for batch in batched(pages(event.data.url + "/orders"), 2):
        print([order["id"] for order in batch])
        for order in batch:
            last = average.send(order["amount"])
    average.close()
    first = next(pages(event.data.url + "/orders"))
    return [last, first["id"], sum(order["amount"] for order in pages(event.data.url + "/orders"))]
