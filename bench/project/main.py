"""What the benchmark runs: steps that do nothing, so that only their price is left."""

import ninelives


@ninelives.step
def noop(i):
    return i


def steps(event):
    for i in range(event.data.n):
        noop(i)
