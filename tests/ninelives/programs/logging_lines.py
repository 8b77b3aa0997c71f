"""Logs of all levels, handlers, exceptions, warnings, standard error."""

import logging
import sys
import traceback
import warnings

import ninelives

log = logging.getLogger("shop")


@ninelives.step
def work(n):
    log.warning("working on %d", n)
    return n


def main(event):
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    log.debug("not shown")
    log.info("begin")
    for n in range(2):
        work(n)
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
        print(traceback.format_exc().splitlines()[-1], file=sys.stderr)
    warnings.warn("careful", UserWarning, stacklevel=1)
    sys.stdout.write("half a line, ")
    work(2)
    sys.stdout.write("and the rest\n")
    print("a", "b", sep="-", end="!\n", flush=True)
