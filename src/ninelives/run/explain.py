"""Say for each call of a file what it will be in a durable session, and why: `ninelives explain`.

Nothing of the project runs. Names are followed through imports, definitions, annotations and what is known to
be returned; what a library's name means is asked of the library itself, as a session would, or of the call
table where it is not installed. What cannot be known from the text is said to be decided at run time.
"""

import ast
import builtins
import importlib
import inspect
import io
import json
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ninelives.run import instrument, kinds
from ninelives.run.calltable import Kind
from ninelives.run.classify import Classifier

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


class _Known(NamedTuple):
    """What is known of a name: an object, an instance of a class, or only a dotted name."""

    what: str
    value: Any


#: What expressions of a form are.
_LITERALS: dict[type[ast.expr], type] = {
    ast.JoinedStr: str,
    ast.List: list,
    ast.ListComp: list,
    ast.Dict: dict,
    ast.DictComp: dict,
    ast.Set: set,
    ast.SetComp: set,
    ast.Tuple: tuple,
}
#: Functions of the SDK that the server answers.
_ANSWERED = frozenset(
    {"add_value", "check_and_set_value", "del_value", "get_value", "http_outcome", "list_keys", "next_event"}
    | {"next_signal", "outcome", "publish_value", "set_value", "signal", "start", "subscribe"}
    | {"unpublish_value", "unsubscribe"}
)
_UNKNOWN = _Known("unknown", None)
_OWN = _Known("own", None)
_OWN_CLASS = _Known("own", "class")


def explain(file: Path, root: Path | None = None) -> list[Site]:
    """Return the call sites of a file in their order.

    Args:
        file: A module of a project.
        root: The project's directory; its modules are not imported. Default: where the file is.
    """
    root = (root or file.parent).resolve()
    tree = ast.parse(file.read_bytes(), str(file))
    reader = _Reader(root)
    reader.read(tree)
    return sorted(reader.sites)


class _Reader(ast.NodeVisitor):
    def __init__(self, root: Path) -> None:
        self.sites: list[Site] = []
        self._root = root
        self._classifier = Classifier(str(root))
        self._scopes: list[dict[str, _Known]] = [{}]
        self._depth = 0
        self._marked: dict[str, str] = {}

    def read(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                mark = _mark_of(node)
                if mark:
                    self._marked[node.name] = mark
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self._scopes[0][node.name] = _OWN_CLASS if isinstance(node, ast.ClassDef) else _OWN
        self.visit(tree)

    # --- names ----------------------------------------------------------------------------------------------

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            module = alias.name if alias.asname else alias.name.partition(".")[0]
            if alias.asname is None:
                self._module(alias.name)
            self._bind(alias.asname or module, self._module(module))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        found = _OWN if node.level else self._module(node.module or "")
        for alias in node.names:
            self._bind(alias.asname or alias.name, self._attribute(found, alias.name))

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)
            self._forget(target)
        if len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            self._bind(node.targets[0].id, self._known(node.value))

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            self.visit(item.context_expr)
            if isinstance(item.optional_vars, ast.Name):
                self._bind(item.optional_vars.id, self._known(item.context_expr))
        for statement in node.body:
            self.visit(statement)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self._bind(node.id, _UNKNOWN)

    def _forget(self, target: ast.expr) -> None:
        for node in ast.walk(target):
            if isinstance(node, ast.Name):
                self._bind(node.id, _UNKNOWN)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(part)
        self._bind(node.name, _OWN)
        scope = {argument.arg: self._annotated(argument) for argument in _arguments(node)}
        self._within(scope, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the name is `ast`'s

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._within({argument.arg: _UNKNOWN for argument in _arguments(node)}, [node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name, _OWN_CLASS)
        outer = dict(self._scopes[-1])
        for part in (*node.decorator_list, *node.bases, *node.body):
            self.visit(part)
        self._scopes[-1] = outer  # methods do not see each other's names

    def _within(self, scope: dict[str, _Known], body: list[Any]) -> None:
        self._scopes.append(scope)
        self._depth += 1
        for part in body:
            self.visit(part)
        self._depth -= 1
        self._scopes.pop()

    def _annotated(self, argument: ast.arg) -> _Known:
        if argument.arg in {"self", "cls"}:
            return _OWN
        found = self._known(argument.annotation) if argument.annotation is not None else _UNKNOWN
        return _Known("instance", found.value) if isinstance(found.value, type) else _UNKNOWN

    def _bind(self, name: str, known: _Known) -> None:
        self._scopes[-1][name] = known

    def _module(self, name: str) -> _Known:
        top = name.partition(".")[0]
        if (self._root / top).is_dir() or (self._root / f"{top}.py").is_file():
            return _OWN
        try:
            return _Known("object", importlib.import_module(name))
        except Exception:
            return _Known("name", name)

    # --- what an expression is ------------------------------------------------------------------------------

    def _known(self, node: ast.expr) -> _Known:
        match node:
            case ast.Name(id=name):
                return self._named(name)
            case ast.Attribute(value=owner, attr=name):
                return self._attribute(self._known(owner), name)
            case ast.Call(func=function):
                return _returned(self._known(function))
            case ast.Await(value=awaited):
                return self._known(awaited)
            case ast.Constant(value=value):
                return _Known("instance", type(value))
        cls = _LITERALS.get(type(node))
        return _Known("instance", cls) if cls is not None else _UNKNOWN

    def _named(self, name: str) -> _Known:
        for scope in reversed(self._scopes):
            found: _Known | None = scope.get(name)
            if found is not None:
                return found
        return _Known("object", getattr(builtins, name)) if hasattr(builtins, name) else _UNKNOWN

    def _attribute(self, owner: _Known, name: str) -> _Known:
        if owner.what == "own":
            return _OWN
        if owner.what == "name":
            return _Known("name", f"{owner.value}.{name}")
        if owner.what in {"object", "instance"}:
            try:
                found = getattr(owner.value, name)
            except AttributeError:
                return self._submodule(owner.value, name)
            except Exception:
                return _UNKNOWN
            is_value = owner.what == "instance" and not callable(found)
            return _UNKNOWN if is_value else _Known("object", found)
        return _UNKNOWN

    def _submodule(self, owner: Any, name: str) -> _Known:
        return self._module(f"{owner.__name__}.{name}") if inspect.ismodule(owner) else _UNKNOWN

    # --- calls ----------------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        kind, name, why = self._decided(node.func)
        if self._depth == 0 and kind not in {Kind.CLOCK.value, Kind.CHANCE.value}:
            kind, why = Kind.DIRECT.value, "at module level and in class bodies calls run directly, each time"
        at = _place(node.func)
        self.sites.append(Site(*at, ast.unparse(node.func)[:80], kind, name, why))

    def _decided(self, function: ast.expr) -> tuple[str, str, str]:
        last = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        known = self._known(function)
        if known.what == "own":
            mark = self._marked.get(last)
            return (
                (mark, last, "marked so")
                if mark
                else (Kind.DIRECT.value, last, "the project's own code, if defined there")
            )
        if known.what == "name":
            module, _, name = known.value.rpartition(".")
            kind = kinds.kind_of(module, name)
            return (
                kind.value,
                known.value,
                f"{_WHY[kind]} (the library is not installed here: by its name alone)",
            )
        if known.what == "object" and callable(known.value):
            return self._asked(known.value)
        return _AT_RUN_TIME, "", "the text does not say what this is"

    def _asked(self, fn: Any) -> tuple[str, str, str]:
        if (
            getattr(fn, "__module__", "") == "builtins"
            and getattr(fn, "__name__", "") in instrument.ALWAYS_DIRECT
        ):
            return Kind.DIRECT.value, fn.__name__, "a builtin that only computes"
        verdict = self._classifier.decide(fn)
        name = verdict.name or getattr(fn, "__qualname__", "")
        if (getattr(fn, "__module__", None) or "").partition(".")[0] == "ninelives":
            return _of_the_sdk(name)
        return verdict.kind.value, name, _WHY[verdict.kind]


def _of_the_sdk(name: str) -> tuple[str, str, str]:
    if name == "sleep":
        return Kind.SLEEP.value, name, _WHY[Kind.SLEEP]
    if name in _ANSWERED:
        return Kind.STEP.value, name, "the server does it and records it, exactly once"
    return Kind.DIRECT.value, name, "part of the SDK"


def _returned(function: _Known) -> _Known:
    """Return what a call gives: an instance of a class, a file, what a library's annotations say."""
    if function == _OWN_CLASS:
        return _OWN
    if function.what != "object":
        return _UNKNOWN
    if isinstance(function.value, type):
        return _Known("instance", function.value)
    if function.value is open:
        return _Known("instance", io.TextIOWrapper)
    try:
        hint = typing.get_type_hints(function.value).get("return")
    except Exception:
        return _UNKNOWN
    return _Known("instance", hint) if isinstance(hint, type) and hint is not type(None) else _UNKNOWN


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Iterator[ast.arg]:
    found = node.args
    yield from (*found.posonlyargs, *found.args, *found.kwonlyargs)
    yield from filter(None, (found.vararg, found.kwarg))


def _mark_of(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    """Return what the decorators say: step, live, inhibit, or AutoKitteh's activity."""
    for decorator in node.decorator_list:
        function = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        found = {"step": "step", "activity": "step", "live": "step", "inhibit": "direct"}.get(name, "")
        if found or name == "inhibit_activities":
            return found or "direct"
    return ""


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
