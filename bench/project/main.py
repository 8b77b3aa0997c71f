"""What the benchmark runs: steps that do nothing, so that only their price is left."""

import time

import ninelives


@ninelives.step
def noop(i):
    return i


def steps(event):
    for i in range(event.data.n):
        noop(i)


def first(event):
    """Tell when the first line of user code ran."""
    return time.time()


def short(event):
    """The shortest session that there is, with one step."""
    return noop(1)


def nap(event):
    """Wait so long that no process is needed for it."""
    time.sleep(3600)


def never(event):
    """What the webhook's filter never lets through."""
