"""Prints and logging: exactly what was printed, once, in order."""


def test_prints_are_recorded_exactly_as_printed(harness, program):
    """Separators, ends, both streams, bytes; and nothing is doubled by a replay."""
    made = program(
        """
        import sys
        import ninelives

        @ninelives.step
        def work(n):
            return n

        print("at import")

        def main(event):
            print("a", "b", sep="-", end="")
            work(1)
            print("!")
            sys.stdout.write("raw ")
            sys.stdout.buffer.write("bytes ü\\n".encode())
            print("to stderr", file=sys.stderr)
            print()
            work(2)
            print("no newline", end="")
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.prints == "at import\na-b!\nraw bytes ü\nto stderr\n\nno newline"
    levels = [row.head["name"] for row in whole.journal.in_order() if row.head["track"] == "log"]
    assert levels.count("stderr") == 1
    assert set(levels) == {"print", "stderr"}


def test_an_added_print_breaks_nothing_in_flight(harness, program):
    """Logs have a counter of their own."""
    made = program(
        """
        import ninelives

        @ninelives.step
        def work(n):
            return n

        def main(event):
            print("one")
            work(1)
            work(2)
            return "over"
        """
    )
    from ninelives_server.testing.session_harness import Journal

    journal = Journal()
    harness.run(made, journal, kill_after=2)
    path = made.directory / "main.py"
    path.write_text(path.read_text().replace("work(2)", "print('two')\n    work(2)"))

    outcome = harness.run(made, journal)

    assert (outcome.state, outcome.result) == ("completed", "over")
    assert outcome.prints == "one\ntwo\n"


def test_prints_of_a_step_belong_to_the_step(harness, program):
    """They are not printed again when the step is answered from the journal."""
    made = program(
        """
        import ninelives

        @ninelives.step
        def work(n):
            print("working", n)
            return n

        def main(event):
            print("begin")
            work(1)
            print("middle")
            work(2)
            print("end")
        """
    )
    whole = harness.run(made)

    replayed = harness.run(made, whole.journal)

    assert replayed.prints == "begin\nworking 1\nmiddle\nworking 2\nend\n"


def test_logging_keeps_its_levels_and_the_users_format(harness, program):
    """As in plain Python: warnings without set-up; what is configured, as configured."""
    made = program(
        """
        import logging

        def main(event):
            logging.getLogger("x").warning("plain %s", 1)
            logging.getLogger("x").info("not shown")
            logging.basicConfig(level=logging.INFO, format="%(levelname)s:%(message)s")
            logging.info("shown")
            try:
                1 / 0
            except ZeroDivisionError:
                logging.exception("failed")
        """
    )

    whole = harness.crash_everywhere(made)

    logs = [(row.head["name"], row.body.decode()) for row in whole.journal.in_order()]
    assert logs[0] == ("WARNING", "plain 1\n")
    assert logs[1] == ("INFO", "INFO:shown\n")
    assert logs[2][0] == "ERROR"
    assert logs[2][1].startswith("ERROR:failed\nTraceback")


def test_what_is_printed_is_on_its_way_before_the_next_step(harness, program):
    """No step is committed before what was printed ahead of it."""
    made = program(
        """
        import ninelives

        @ninelives.step
        def work():
            return 1

        def main(event):
            print("before")
            work()
            print("after")
        """
    )

    rows = harness.run(made).journal.in_order()

    assert [row.head["name"] for row in rows] == ["print", "main.work", "print"]


def test_a_plain_session_prints_too(harness, program):
    """Not durable: the same records, no others."""
    made = program(
        """
        import threading, time

        def main(event):
            print("one")
            time.sleep(0.01)
            thread = threading.Thread(target=print, args=("two",))
            thread.start()
            thread.join()
            return time.time() > 0
        """,
        is_durable=False,
    )

    outcome = harness.run(made)

    assert (outcome.state, outcome.result, outcome.prints) == ("completed", True, "one\ntwo\n")
    assert {row.head["track"] for row in outcome.journal.in_order()} == {"log"}


def _limited(program, source: str):
    made = program(source)
    made.limits = {"output_mb": 1}
    return made


_CHATTY = """
    import ninelives
    @ninelives.step
    def work(k):
        return k
    def main(event):
        for k in range(30):
            print('x' * 99_999)
            work(k)
        return 'done'
    """


def test_output_beyond_its_limit_is_counted_and_not_kept(harness, program):
    """
    The session goes on; what it printed is cut where the limit was reached, and the log says how much is missing.
    """
    outcome = harness.run(_limited(program, _CHATTY))

    printed = outcome.prints
    assert outcome.state == "completed"
    assert printed.startswith("x" * 99_999)
    assert "its limit of 1 MB of output" in printed
    assert "NINELIVES_LIMITS__OUTPUT_MB" in printed
    assert f"; {11 * 100_000 - 1024 * 1024} bytes of this and all that follows are cut" in printed
    assert printed.endswith("ninelives: 1900000 more bytes in 19 pieces were printed and not kept\n")
    assert len(printed) < 1024 * 1024 + 500


def test_the_limit_of_output_holds_over_restarts(harness, program):
    """
    Killed anywhere, the session has printed the same in the end: the limit is the session's, not its process's.
    """
    harness.crash_everywhere(_limited(program, _CHATTY.replace("range(30)", "range(14)")))


def test_a_handler_that_sends_lines_sends_each_once(harness, program, outside):
    """The code runs again after a crash; whoever was told is not told again."""
    made = program(
        """
        import logging, logging.handlers, urllib.parse, urllib.request

        def main(event):
            url = urllib.parse.urlsplit(event.data.url)
            log = logging.getLogger("shop")
            log.propagate = False
            log.addHandler(logging.handlers.HTTPHandler(url.netloc, "/orders?page=1"))
            log.error("one")
            urllib.request.urlopen(event.data.url + "/orders?page=2").close()
            log.error("two")
        """,
        data={"url": outside.url},
    )

    whole = harness.run(made)
    told = dict(outside.asked)
    harness.run(made, whole.journal.copy())

    assert len(told) == 3
    assert dict(outside.asked) == told
    assert whole.prints == ""


def test_names_that_no_database_takes_are_shown_escaped(harness, program):
    """A level of logging, and a function that was given another name; a step cannot be given one."""
    made = program(
        """
        import logging
        import os

        import ninelives

        def odd():
            return os.getpid() > 0

        odd.__qualname__ = "od\\0d"

        def main(event):
            logging.addLevelName(35, "LO\\0UD \\ud83d")
            logging.getLogger("x").log(35, "heard")
            found = []
            for name in ("a\\0b", "half \\ud83d"):
                try:
                    ninelives.step(name=name)
                except ValueError as error:
                    found.append("surrogate" in str(error))
            return [*found, ninelives.step(odd)()]
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == [True, True, True]
    names = [row.head["name"] for row in whole.journal.in_order()]
    assert names == ["LO\\x00UD \\ud83d", "main.od\\x00d"]
