"""
What a project's code offers and needs, found without running it.
"""

import warnings

from making import tar_of

from ninelives_server.projects import bundles, code


def scan(**files: str) -> code.Code:
    return code.scan(
        bundles.read(tar_of({name.replace("__", "/") + ".py": text for name, text in files.items()}))
    )


def test_functions_and_classes_at_the_top_level_are_entry_points():
    """
    With line and positional parameters; what is nested or assigned is none, as in AutoKitteh.
    """
    found = scan(
        main=(
            "import os\n\ndef first(event, session_id=None, *args, key=1, **kw):\n    def inner(): ...\n\n"
            "async def second(event, /): ...\n\nclass Third:\n    def __init__(self, event): ...\n\n"
            "class Fourth: ...\n\nalias = first\nif True:\n    def hidden(event): ...\n"
        ),
        sub__prog="def main(event): ...\n",
        data="x = 1\n",
    )

    assert [(e.file, e.name, e.line, e.args) for e in found.entrypoints] == [
        ("main.py", "first", 3, ("event", "session_id")),
        ("main.py", "second", 6, ("event",)),
        ("main.py", "Third", 8, ("event",)),
        ("main.py", "Fourth", 11, ()),
        ("sub/prog.py", "main", 1, ("event",)),
    ]


def test_a_name_that_is_defined_again_counts_once():
    """
    The later definition is the one that runs.
    """
    found = scan(main="def f(a): ...\ndef f(b): ...\n")

    assert [(e.line, e.args) for e in found.entrypoints] == [(2, ("b",))]


def test_imports_are_found_wherever_they_stand():
    """
    Also inside functions; the project's own modules do not count.
    """
    found = scan(
        main="import a.b as c\nfrom d import e\nimport helper\nfrom pkg.x import y\n",
        pkg__x="def f():\n    import late\nfrom . import z\nfrom .q import w\n",
        helper="try:\n    import optional\nexcept ImportError: ...\n",
    )

    assert found.imports == {"a.b", "d", "d.e", "late", "optional"}


def test_a_broken_file_says_where():
    """
    Syntax errors, wrong encodings and NUL characters alike.
    """
    found = code.scan(
        bundles.read(
            tar_of(
                {
                    "ok.py": "x = 1",
                    "bad.py": "x = 1\ndef f(:\n",
                    "nul.py": b"x = '\x00'",
                    "enc.py": b"x = '\xff'",
                }
            )
        )
    )

    assert found.broken["bad.py"][0] == 2
    assert found.broken.keys() == {"bad.py", "nul.py", "enc.py"}


def test_reading_code_warns_nobody_and_runs_nothing():
    """
    An odd escape in user code is not our server's warning, and no line of it is executed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scan(main="x = '\\d'\nraise SystemExit('ran')\n")

    assert not found.broken
