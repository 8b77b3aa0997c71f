"""Modules of a build: packages, late imports, files that hide others, data beside the code."""

import time

from ninelives_server.testing.session_harness import Journal

FILES = {
    "helper.py": "import os\ndef look():\n    return os.path.exists('/')\n",
    "pkg/__init__.py": "from .inner import value\n",
    "pkg/inner.py": "from . import data\nvalue = data.text\n",
    "pkg/data.py": "import pkgutil\ntext = pkgutil.get_data('pkg', 'words.txt').decode()\n",
    "pkg/words.txt": "words",
    "bare/thing.py": "import os\ndef look():\n    return os.path.exists('/')\n",
    "requests.py": "def get():\n    return 'not the library'\n",
    "queue.py": "mine = True\n",
    "yaml/readme.txt": "a directory without code hides no package",
}


def test_modules_of_every_shape_are_rewritten(harness, program):
    """Packages with and without `__init__.py`, relative and late imports: their calls are steps."""
    made = program(
        """
        import helper
        from bare.thing import look
        import pkg

        def main(event):
            import bare.thing as late
            return [helper.look(), look(), late.look(), pkg.value]
        """,
        files=FILES,
    )

    outcome = harness.run(made)

    assert outcome.result == [True, True, True, "words"]
    assert outcome.journal.steps() == ["os.path.exists"] * 3


def test_a_file_of_the_build_hides_an_installed_module(harness, program):
    """As it would for a script in that directory; a directory of data hides nothing."""
    made = program(
        """
        import queue, requests, yaml, json
        from concurrent.futures import ThreadPoolExecutor

        def main(event):
            with ThreadPoolExecutor(1) as pool:
                one = pool.submit(int, "1").result()
            return [requests.get(), queue.mine, hasattr(yaml, "safe_load"), one]
        """,
        files=FILES,
    )

    assert harness.run(made).result == ["not the library", True, True, 1]


def test_module_level_code_makes_no_steps_but_reads_recorded_clocks(harness, program):
    """Also where a function of the project is called there, and when a module is loaded late."""
    made = program(
        """
        import os, time, random
        LOADED = time.time()
        EXISTS = os.path.exists("/")
        def helper():
            return os.path.exists("/")
        CALLED = helper()

        def main(event):
            import late
            return [LOADED, EXISTS, CALLED, late.CHANCE, helper()]
        """,
        files={"late.py": "import os, random\nos.stat('/')\nCHANCE = random.random()\n"},
    )
    whole = harness.run(made)

    again = harness.run(made, whole.journal)

    assert again.result == whole.result
    assert whole.journal.steps() == ["os.path.exists"]


def test_a_source_that_was_changed_is_compiled_anew(harness, program):
    """What was made ahead of the sessions is of another one then."""
    made = program("def main(event):\n    return 1\n")
    first = harness.run(made).result

    (made.directory / "main.py").write_text("def main(event):\n    return 2\n")

    assert (first, harness.run(made).result) == (1, 2)


RETRIES = """
import tenacity

import ninelives

@ninelives.step
def work():
    raise ConnectionError("down")

@tenacity.retry(stop=tenacity.stop_after_delay(0.2), wait=tenacity.wait_fixed(0.11))
def patient():
    work()

def main(event):
    try:
        patient()
    except tenacity.RetryError as error:
        return error.last_attempt.attempt_number
"""


def test_what_a_library_waits_between_retries_is_a_wait_of_the_session(harness, program):
    """A replay does not wait again, and gives up after as many attempts: its clock is the recorded one."""
    made = program(RETRIES)
    journal = Journal()
    first = harness.run(made, journal)
    rows = journal.in_order()
    began = time.monotonic()

    again = harness.run(made, journal)

    assert first.result == again.result == 3
    assert time.monotonic() - began < 0.2
    assert [row.head["name"] for row in rows if row.head["kind"] == "wait"] == ["time.sleep"] * 2
    assert journal.in_order() == rows


def test_a_library_is_as_it_is_in_a_session_that_is_not_durable(harness, program):
    """Plain Python."""
    assert harness.run(program(RETRIES, is_durable=False)).result == 3
