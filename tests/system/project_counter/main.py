"""Twenty steps: ten are unmarked library calls, ten are marked functions; each tells the counter that it ran."""

import requests

import ninelives


@ninelives.step
def tell(url, name, index):
    requests.post(f"{url}/{name}/{index}", timeout=60)
    return index


def work(event):
    url, name = event.data.url, event.data.name
    total = 0
    for index in range(20):
        if index % 2:
            total += tell(url, name, index)
        else:
            total += requests.post(f"{url}/{name}/{index}", timeout=60).json()["index"]
    print(f"{name}: {total}")
    return total
