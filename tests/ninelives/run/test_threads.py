"""Threads, pools and locks of user code: one strand at a time, in an order that a replay repeats."""


def test_threads_run_their_steps_side_by_side_and_replay_in_the_same_order(harness, program):
    """What user code sees of the race is decided by the order of commits, and stays so."""
    made = program(
        """
        import threading, time
        import ninelives

        @ninelives.step
        def work(n):
            time.sleep(0.02 * (3 - n))
            return n

        def run(n, out, lock):
            found = work(n)
            with lock:
                out.append(found)
            found = work(n)
            with lock:
                out.append(found * 10)

        def main(event):
            out, lock = [], threading.Lock()
            threads = [threading.Thread(target=run, args=(n, out, lock)) for n in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(out)
            return sorted(out)
        """
    )

    whole = harness.crash_everywhere(made, is_sequential=False)

    assert whole.result == [0, 0, 1, 2, 10, 20]
    strands = {row.head["strand"] for row in whole.journal.in_order() if row.head["track"] == "call"}
    assert strands == {"0.0", "0.1", "0.2"}


def test_a_lock_held_across_a_step_makes_the_others_wait(harness, program):
    """The turn passes while a strand is blocked on a lock; nothing is interleaved inside."""
    made = program(
        """
        import threading
        import ninelives

        @ninelives.step
        def work(n):
            return n

        def main(event):
            lock, out = threading.RLock(), []

            def run(n):
                with lock:
                    with lock:
                        out.append(("in", n))
                        work(n)
                        out.append(("out", n))

            threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
            [t.start() for t in threads]
            [t.join() for t in threads]
            return [out[i][1] == out[i + 1][1] for i in range(0, 8, 2)]
        """
    )

    assert harness.crash_everywhere(made, is_sequential=False).result == [True] * 4


def test_queues_events_and_conditions_pass_the_turn(harness, program):
    """A consumer that blocks on a queue lets its producer run."""
    made = program(
        """
        import queue, threading
        import ninelives

        @ninelives.step
        def fetch(n):
            return n * n

        def main(event):
            box, done = queue.Queue(maxsize=2), threading.Event()

            def produce():
                for n in range(5):
                    box.put(fetch(n))
                box.put(None)
                done.set()

            thread = threading.Thread(target=produce)
            thread.start()
            got = []
            while (item := box.get()) is not None:
                got.append(item)
            done.wait()
            thread.join()
            print(got)
            return got
        """
    )

    assert harness.crash_everywhere(made).result == [0, 1, 4, 9, 16]


def test_a_timed_out_wait_for_a_queue_times_out_again_on_replay(harness, program):
    """The time-out is a durable wait of its own."""
    made = program(
        """
        import queue, threading

        def main(event):
            box, flag = queue.Queue(), threading.Event()
            try:
                box.get(timeout=0.05)
            except queue.Empty:
                print("empty")
            return flag.wait(0.05)
        """
    )

    whole = harness.crash_everywhere(made)

    assert (whole.result, whole.prints) == (False, "empty\n")
    assert set(whole.journal.steps()) == {"threading.timeout"}


def test_each_call_handed_to_a_pool_is_a_strand(harness, program):
    """The threads of the pool are none; what a call comes to does not depend on which thread ran it."""
    made = program(
        """
        from concurrent.futures import ThreadPoolExecutor, as_completed
        import os, time
        import ninelives

        @ninelives.step
        def work(n):
            time.sleep(0.01 * (5 - n))
            return n

        def main(event):
            with ThreadPoolExecutor(2) as pool:
                futures = [pool.submit(work, n) for n in range(5)]
                direct = pool.submit(os.path.exists, "/")
                done = [future.result() for future in futures]
                mapped = list(pool.map(work, range(3)))
                first = next(as_completed([pool.submit(work, 4), pool.submit(work, 0)])).result()
            print(first)
            return [done, mapped, direct.result()]
        """
    )

    whole = harness.crash_everywhere(made, is_sequential=False)

    assert whole.result == [[0, 1, 2, 3, 4], [0, 1, 2], True]
    assert "os.path.exists" in whole.journal.steps()


def test_an_error_in_a_thread_is_printed_once(harness, program):
    """As Python does, on stderr; a replay does not print it again."""
    made = program(
        """
        import threading
        import ninelives

        @ninelives.step
        def fail():
            raise ValueError("in a thread")

        def main(event):
            thread = threading.Thread(target=fail)
            thread.start()
            thread.join()
            return "over"
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == "over"
    assert whole.prints.count("ValueError: in a thread") == 1
