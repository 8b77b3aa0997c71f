"""Modules as AutoKitteh's own tests assert them (tests/sessions/python), durable and not.

The numbers are those of docs/guides/coming-from-autokitteh.md.
"""

import pytest

EACH_MODE = pytest.mark.parametrize("is_durable", [True, False], ids=["durable", "nondurable"])


@EACH_MODE
def test_15_a_module_prints_once_and_its_globals_are_used(harness, program, is_durable):
    """Before what the handler prints; a replay does not print it again."""
    made = program(
        """
        from autokitteh import activity

        print("loading")
        GREETING = "hello".upper()

        @activity
        def act():
            return GREETING

        def main(event):
            print(act())
        """,
        is_durable=is_durable,
    )

    outcome = harness.crash_everywhere(made) if is_durable else harness.run(made)

    assert outcome.prints == "loading\nHELLO\n"


@EACH_MODE
@pytest.mark.parametrize("has_init", [True, False])
def test_16_18_packages_are_imported_with_and_without_init(harness, program, is_durable, has_init):
    """Absolute and relative imports, from the top and late; activities in them are recorded in each case."""
    files = {
        "foo/bar.py": """
            from autokitteh import activity
            from . import qux

            @activity
            def act(n):
                return qux.twice(n)

            def baz(n):
                return act(n)
            """,
        "foo/qux.py": "def twice(n):\n    return n * 2\n",
        **(
            {"foo/__init__.py": "import platform\n\ndef here():\n    return platform.node() != ''\n"}
            if has_init
            else {}
        ),
    }
    late = "import foo; print(foo.here())" if has_init else "import foo.qux; print(foo.qux.twice(1) == 2)"
    made = program(
        f"""
        from foo.bar import baz

        def main(event):
            print(baz(2))
            {late}
        """,
        files=files,
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert outcome.prints == "4\nTrue\n"
    steps = ["foo.bar.act", *(["platform.node"] if has_init else [])]
    assert outcome.journal.steps() == (steps if is_durable else [])


@EACH_MODE
def test_22_a_sibling_module_is_imported(harness, program, is_durable):
    """By its plain name."""
    made = program(
        "import other\n\ndef main(event):\n    print(other.there())\n",
        files={"other.py": "def there():\n    return 'there'\n"},
        is_durable=is_durable,
    )

    assert harness.run(made).prints == "there\n"


@EACH_MODE
def test_25_26_open_works_in_a_handler_and_at_the_top_of_a_module(harness, program, is_durable):
    """A handler that a module calls itself, with `{}`, is simply called."""
    made = program(
        """
        def main(event):
            with open("data.txt") as file:
                print(file.read().strip())

        main({})
        """,
        files={"data.txt": "content\n"},
        is_durable=is_durable,
    )

    assert harness.run(made).prints == "content\ncontent\n"
