"""Closures, `nonlocal`, decorators with `wraps`, caches, partials."""

import functools
import os

CALLS = []


def logged(fn):
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):
        CALLS.append(fn.__name__)
        return fn(*args, **kwargs)

    return wrapper


@functools.cache
def size_of(path):
    print("looked at", os.path.basename(path))
    return os.path.getsize(path)


@logged
@logged
def touch(path):
    with open(path, "w") as file:
        file.write("x" * 7)


def counter():
    n = 0

    def more(by=1):
        nonlocal n
        n += by
        return n

    return more


def main(event):
    more = counter()
    paths = [f"{event.data.dir}/{i}" for i in range(2)]
    for path in paths:
        touch(path)
        more()
    sizes = [size_of(path) for path in paths * 2]
    ten = functools.partial(more, 10)
    ten()
    if (n := ten()) > 5:
        print(n, touch.__name__)
    return [sizes, n, CALLS]
