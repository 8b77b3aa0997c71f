"""Names, retries, time-outs and `never` of `@ninelives.step`."""

import os

import ninelives
from ninelives import Retry


@ninelives.step(name="count the file", retry=Retry(times=3, first=0.01))
def flaky(path):
    with open(path, "a") as file:
        file.write("x")
    if os.path.getsize(path) < 3:
        raise OSError(f"only {os.path.getsize(path)}")
    return os.path.getsize(path)


@ninelives.step(retry=2)
def picky(kind):
    raise LookupError(kind)


@ninelives.step(retry=Retry(times=5, on=(KeyError,)))
def narrow():
    raise ValueError("not worth another attempt")


@ninelives.step(retry="never")
def once(path):
    with open(path, "a") as file:
        file.write("once\n")
    return "done"


@ninelives.step(timeout=30)
def quick(n):
    return n + 1


def main(event):
    size = flaky(event.data.dir + "/flaky")
    try:
        narrow()
    except ValueError as error:
        print(error)
    try:
        done = once(event.data.dir + "/once")
    except ninelives.StepInterrupted:
        done = "done"  # the file says so
    return [size, done, quick(1)]
