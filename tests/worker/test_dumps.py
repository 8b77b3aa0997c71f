"""What a killed process wrote of its threads, as its author reads it."""

import faulthandler
import tempfile
import threading
from pathlib import Path

from ninelives_server.worker import dumps

BUILD = Path("/data/builds/76a1")
SDK = "/data/sdk/cba1/ninelives/run"


def dump(build: Path) -> str:
    """A real one: project code called by ours stands in one thread, ours alone in another."""
    begun, over = threading.Event(), threading.Event()
    names = {"threading": threading, "begun": begun, "over": over}
    exec(compile("def be_the_link():\n    begun.set(); over.wait()\n", f"{SDK}/link.py", "exec"), names)
    thread = threading.Thread(target=names["be_the_link"])
    thread.start()
    begun.wait(20)
    names["faulthandler"] = faulthandler
    exec(
        compile("\n\ndef loop():\n    faulthandler.dump_traceback(out)\n", f"{build}/pkg/main.py", "exec"),
        names,
    )
    exec(compile("def run():\n    loop()\n", f"{SDK}/main.py", "exec"), names)
    try:
        with tempfile.TemporaryFile("w+") as out:
            names["out"] = out
            names["run"]()
            out.seek(0)
            return out.read()
    finally:
        over.set()
        thread.join()


def test_only_the_authors_frames_are_left():
    """
    Files of the build have the names that they have there; threads of our own are nobody's business.
    """
    text = "printed before\n" + dump(BUILD)

    shown = dumps.readable(text, [BUILD])

    assert f"{SDK}/main.py" in text
    assert "in be_the_link" in text
    assert shown.startswith("printed before\n")
    assert "\nCurrent thread" in shown
    assert '  File "pkg/main.py", line 4 in loop' in shown
    assert SDK not in shown
    assert "be_the_link" not in shown
    assert dumps.stood(text, [BUILD]) == "pkg/main.py:4, in loop"


def test_what_is_no_dump_stays():
    """
    What a program prints is its own, whatever it looks like.
    """
    text = f'Traceback:\n  File "{SDK}/main.py", line 4 in loop\nSegmentation fault'

    assert dumps.readable(text, [BUILD]) == text
    assert dumps.stood("", [BUILD]) is None
