"""Write docs/reference/call-table.md from the call table itself.

`python tools/call_table.py` runs it; a test compares what it would write with what is committed.
"""

import textwrap
from pathlib import Path

from ninelives.run import calltable
from ninelives.run.calltable import Kind

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "call-table.md"
_WIDTH = 108

_INTRODUCTION = (
    "What happens to a call in a durable session, by the name of what is called. The longest name counts: "
    "`pathlib.Path.exists` before `pathlib.Path` before `pathlib`. **What is not listed here, is not "
    "your own code "
    "and is not marked, is a step.**"
)
_BESIDE = (
    "Your own functions and classes are called directly, whatever they are named; decorators "
    "(`@ninelives.step`, "
    "`live`, `inhibit`) come before the table; `ninelives.register_no_activity([…])` adds functions and "
    "classes to "
    "those called directly. This page is made from `ninelives/run/calltable.py`; changing what a name "
    "means is a "
    "new semantics version, because running sessions rely on it."
)
_SECTIONS = {
    Kind.DIRECT: (
        "Called directly",
        "They only compute, or are objects of this process that come back because the code runs again.",
    ),
    Kind.INSPECT: (
        "Called directly, with a look at the arguments",
        (
            "Callables among the arguments are decided upon as well. Where an argument is an open file, "
            "a live "
            "value or an iterable that works while it is looped over, the call is a step. For a class "
            "this is "
            "about making one."
        ),
    ),
    Kind.RUNS: (
        "They run a callable later or elsewhere",
        "What they are given to run is decided upon when it is called, in a strand of its own.",
    ),
    Kind.KEEPS: (
        "They keep a callable for later",
        "What they are given is decided upon when somebody calls it, where it is called.",
    ),
    Kind.ENTERS: (
        "They enter a context and leave it later",
        "As a `with` statement does: entering and leaving are steps where the context reaches out.",
    ),
    Kind.CLOCK: ("Clocks", "The reading is recorded; a replay reads the same time."),
    Kind.CHANCE: (
        "Chance",
        (
            "Computed from the session's seed, in each strand for itself; nothing is recorded. "
            "Generators that "
            "libraries use inside steps are left alone."
        ),
    ),
    Kind.SLEEP: ("Waits", "A durable wait; a long one parks the session."),
    Kind.ASYNC_SLEEP: ("Waits of coroutines", "The same, when it is awaited."),
    Kind.STEP: ("Steps, although what is around them computes", "Parts of modules above that reach out."),
}
_HANDLES = (
    "Values of these classes, or of classes in these modules, cannot be recorded; after a crash they "
    "are made "
    "again by the call that made them, when they are needed."
)


def page() -> str:
    """Return the page."""
    parts = ["# The call table\n", _filled(_INTRODUCTION), _filled(_BESIDE)]
    for kind, (title, words) in _SECTIONS.items():
        names = sorted(name for name, of in calltable.TABLE.items() if of is kind)
        parts += [f"## {title}\n", _filled(words), _listed(names)]
    parts += ["## Handles\n", _filled(_HANDLES), _listed(sorted(calltable.HANDLES))]
    return "\n".join(parts)


def _filled(words: str) -> str:
    return textwrap.fill(words, _WIDTH, break_on_hyphens=False, break_long_words=False) + "\n"


def _listed(names: list[str]) -> str:
    return _filled(" · ".join(f"`{name}`" for name in names))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
