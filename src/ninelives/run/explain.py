"""Say for each call of a file what it will be in a durable session, and why: `ninelives explain`.

Nothing of the project runs. Names are followed through imports, definitions, annotations and what is known to
be returned; what a library's name means is asked of the library itself, as a session would, or of the call
table where it is not installed. What cannot be known from the text is said to be decided at run time.
"""

import ast
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ninelives.run import instrument, kinds, names
from ninelives.run.calltable import Kind
from ninelives.run.classify import Classifier
from ninelives.run.given import Known
from ninelives.run.names import Project

_AT_RUN_TIME = "decided at run time"

#: What people are told of each kind, and whether a record is written.
_WHY = {
    Kind.DIRECT: "it only computes, or is an object of this process",
    Kind.INSPECT: "it computes on what it is given; a step on a file, a live value or an I/O iterator",
    Kind.OPENS: "a step on a path or a file; direct on a buffer such as BytesIO",
    Kind.RUNS: "it runs what it is given as a strand of its own; the calls in that are decided there",
    Kind.KEEPS: "what it is given to keep is decided upon when it is called",
    Kind.ENTERS: "entering and leaving what it is given are steps where they reach out",
    Kind.CLOCK: "the reading is recorded",
    Kind.CHANCE: "computed from the session's seed: the same again when the code runs again",
    Kind.SLEEP: "a durable wait",
    Kind.ASYNC_SLEEP: "a durable wait",
    Kind.STEP: "it reaches out of the process",
}


class Site(NamedTuple):
    """One call in a file.

    Attributes:
        kind: `direct`, `step`, …; `decided at run time` where the text does not say.
        name: What the callee is, as far as that is known.
    """

    line: int
    column: int
    call: str
    kind: str
    name: str
    why: str


#: Functions of the SDK, and of AutoKitteh's, that the server answers.
_ANSWERED = frozenset(
    {"add_value", "add_values", "check_and_set_value", "del_value", "get_value", "http_outcome", "list_keys"}
    | {"list_values_keys", "mutate_value", "next_event", "next_signal", "outcome", "publish_value"}
    | {"set_value", "signal", "start", "subscribe", "unpublish_value", "unsubscribe"}
)
_SDKS = frozenset({"ninelives", "autokitteh"})
#: Where the classes of their dictionaries are.
_STORES = frozenset({"ninelives.values", "autokitteh.store"})


def explain(file: Path, root: Path | None = None) -> list[Site]:
    """Return the call sites of a file in their order.

    Args:
        file: A module of a project.
        root: The project's directory; its modules are not imported. Default: where the file is.
    """
    root = (root or file.parent).resolve()
    tree = ast.parse(file.read_bytes(), str(file))
    module = ".".join(file.resolve().relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    reader = _Reader(Project(root), names.package_of(file, module))
    reader.read(tree)
    return sorted(reader.sites.values())


class _Reader(names.Names):
    def __init__(self, project: Project, package: str) -> None:
        super().__init__(project, package)
        #: By their calls: what is said when the module is read for the second time counts.
        self.sites: dict[ast.Call, Site] = {}
        self._classifier = Classifier(str(project.root))

    def visit_Call(self, node: ast.Call) -> None:  # noqa: N802 - the name is `ast`'s
        self.generic_visit(node)
        kind, name, why = self._decided(node.func)
        if self.depth == 0 and kind not in {Kind.CLOCK.value, Kind.CHANCE.value}:
            kind, why = Kind.DIRECT.value, "at module level and in class bodies calls run directly, each time"
        at = _place(node.func)
        self.sites[node] = Site(*at, ast.unparse(node.func)[:80], kind, name, why)

    def _decided(self, function: ast.expr) -> tuple[str, str, str]:
        last = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        found = self.known(function)
        if found.what == "function" and found.value:
            return found.value, last, "marked so"
        if found.what in {"function", "class", "of own"}:
            return Kind.DIRECT.value, last, "the project's own code"
        if found.what in {"name", "part"}:
            return _by_name(found)
        if found.what == "object" and callable(found.value):
            return self._asked(found.value)
        return _AT_RUN_TIME, "", "the text does not say what this is"

    def _asked(self, fn: Any) -> tuple[str, str, str]:
        if (
            getattr(fn, "__module__", "") == "builtins"
            and getattr(fn, "__name__", "") in instrument.ALWAYS_DIRECT
        ):
            return Kind.DIRECT.value, fn.__name__, "a builtin that only computes"
        if type(getattr(fn, "__self__", None)).__module__ in _STORES:
            return (
                Kind.STEP.value,
                f"store.{fn.__name__}",
                "what it reads and changes the server does and records",
            )
        verdict = self._classifier.decide(fn)
        name = verdict.name or getattr(fn, "__qualname__", "")
        module = (getattr(fn, "__module__", None) or "").partition(".")[0]
        if module in _SDKS:
            return _of_the_sdk(module, getattr(fn, "__name__", name))
        return verdict.kind.value, name, _WHY[verdict.kind]


def _by_name(found: Known) -> tuple[str, str, str]:
    module, _, name = found.value.rpartition(".")
    if module.partition(".")[0] in _SDKS and name in _ANSWERED:
        return _of_the_sdk(module.partition(".")[0], name)
    kind = kinds.kind_of(module, name)
    how = (
        "part of a client" if found.what == "part" else "the library is not installed here: by its name alone"
    )
    return kind.value, found.value, f"{_WHY[kind]} ({how})"


def _of_the_sdk(module: str, name: str) -> tuple[str, str, str]:
    if name == "sleep":
        return Kind.SLEEP.value, name, _WHY[Kind.SLEEP]
    if name in _ANSWERED:
        return Kind.STEP.value, name, "the server does it and records it, exactly once"
    return Kind.DIRECT.value, name, "part of the SDK" if module == "ninelives" else "part of AutoKitteh's SDK"


def _place(function: ast.expr) -> tuple[int, int]:
    """Return line and column (from 1) of the name that is called."""
    if isinstance(function, ast.Attribute):
        return function.end_lineno or function.lineno, (function.end_col_offset or 0) - len(function.attr) + 1
    return function.lineno, function.col_offset + 1


def main() -> None:
    """Print the call sites of the file that the arguments name, and of its project, as JSON."""
    file, root = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        sites = explain(file, root)
    except SyntaxError as error:
        print(json.dumps({"error": f"{file.name}:{error.lineno}: {error.msg}"}))
    else:
        print(json.dumps({"calls": [site._asdict() for site in sites]}))


if __name__ == "__main__":
    main()
