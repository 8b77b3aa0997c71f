"""Barriers, conditions, events, semaphores, timers, thread-local state."""

import threading
import time

import ninelives


@ninelives.step
def work(n):
    time.sleep(0.002 * (3 - n))
    return n


def main(event):
    barrier = threading.Barrier(3)
    condition, go = threading.Condition(), threading.Event()
    slots = threading.BoundedSemaphore(2)
    arrived, order = [], []

    def run(n):
        barrier.wait()
        with slots:
            value = work(n)
        with condition:
            arrived.append(value)
            condition.notify_all()
        go.wait()
        order.append(threading.current_thread().name[-1])

    threads = [threading.Thread(target=run, args=(n,), name=f"worker-{n}") for n in range(3)]
    for thread in threads:
        thread.start()
    with condition:
        condition.wait_for(lambda: len(arrived) == 3)
    rung = []
    timer = threading.Timer(0.01, rung.append, ["rung"])
    timer.start()
    timer.join()
    go.set()
    for thread in threads:
        thread.join()
    return [sorted(arrived), sorted(order), rung, any(t.is_alive() for t in threads)]
