"""What touches the process itself: exit hooks, weak references, garbage, recursion, frames."""

import atexit
import gc
import inspect
import signal
import sys
import weakref

import ninelives


@ninelives.step
def tick(value):
    return value


class Node:
    def __init__(self, value, parent=None):
        self.value = value
        self.parent = weakref.ref(parent) if parent else None
        self.children = []
        if parent:
            parent.children.append(self)

    def __del__(self):
        pass


def depth(node):
    return 1 + max((depth(child) for child in node.children), default=tick(0))


def caller():
    return inspect.stack()[1].function, sys._getframe(1).f_lineno > 0, inspect.currentframe().f_code.co_name


def main(event):
    atexit.register(print, "never mind")
    atexit.unregister(print)
    root = Node(1)
    for n in range(2):
        Node(n, Node(n, root))
    found = depth(root)
    cache = weakref.WeakValueDictionary(root=root)
    finalized = []
    weakref.finalize(root, finalized.append, "gone")
    del root
    gc.collect()
    previous = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    names = sorted(locals())
    return [found, dict(cache), finalized, previous == signal.SIG_DFL, caller(), "found" in names, eval("tick(5)")]
