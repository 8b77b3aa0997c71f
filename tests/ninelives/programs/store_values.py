"""The store, a child and a signal: what the server answers."""

import ninelives
from ninelives import store


def main(event):
    store["n"] = 1
    total = ninelives.add_value("n", 2)
    if "missing" not in store:
        store["list"] = [total]
    swapped = ninelives.check_and_set_value("n", 3, "three")
    try:
        store["other"]
    except KeyError as error:
        print("none", error)
    del store["list"]
    return [total, swapped, dict(store), len(store)]
