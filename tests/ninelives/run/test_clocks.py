"""Clocks are recorded, chance is computed: both are the same again."""

from ninelives_server.testing.session_harness import Journal


def test_a_clock_is_read_once(harness, program):
    """A later process reads the recorded time, at module level too."""
    made = program(
        """
        import datetime, time
        from time import monotonic
        import ninelives

        LOADED = time.time()

        @ninelives.step
        def work():
            return 1

        def main(event):
            found = [LOADED, monotonic(), str(datetime.datetime.now(datetime.timezone.utc))]
            found += [time.strftime("%c"), str(datetime.date.today())]
            work()
            return found
        """
    )
    journal = Journal()
    first = harness.run(made, journal)

    again = harness.run(made, journal)

    assert again.result == first.result
    assert [row.head["name"] for row in journal.in_order() if row.head["track"] == "value"] == [
        "time.time", "time.monotonic", "datetime.datetime.now", "time.strftime", "datetime.date.today",
    ]  # fmt: skip


def test_clocks_inside_a_step_are_real(harness, program):
    """A step is recorded as a whole."""
    made = program(
        """
        import time
        import ninelives

        @ninelives.step
        def work():
            return time.time() > 0

        def main(event):
            return work()
        """
    )

    assert {row.head["track"] for row in harness.run(made).journal.in_order()} == {"call"}


def test_chance_is_the_same_after_a_crash_and_leaves_no_record(harness, program):
    """random, secrets and uuid are computed from the session's seed, in every strand for itself."""
    made = program(
        """
        import os, random, secrets, uuid, threading

        ID = str(uuid.uuid4())

        def draw():
            own = random.Random()
            xs = list(range(5))
            random.shuffle(xs)
            return [random.random(), random.randint(1, 100), xs, secrets.token_hex(4), str(uuid.uuid4()),
                    os.urandom(4).hex(), secrets.choice("abc"), own.random(), random.SystemRandom().random(),
                    secrets.randbelow(10), secrets.token_urlsafe(5)]

        def main(event):
            out = []
            thread = threading.Thread(target=lambda: out.append(draw()))
            thread.start()
            here = draw()
            thread.join()
            print(here, out)
            return [ID, here, out[0], here != out[0]]
        """
    )

    first, second = harness.run(made), harness.run(made)

    assert first.result == second.result
    assert first.result[3] is True
    assert first.journal.steps() == []


def test_a_seed_that_user_code_sets_counts(harness, program):
    """`random.seed` makes the sequence that Python makes."""
    import random

    made = program(
        """
        import random

        def main(event):
            random.seed(42)
            return [random.random(), random.choice("abcdef")]
        """
    )
    expected = random.Random(42)

    assert harness.run(made).result == [expected.random(), expected.choice("abcdef")]
