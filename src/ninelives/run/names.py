"""What names and expressions of a project's modules are, as far as their text tells: for `explain`.

Nothing of the project runs; libraries that are installed are imported, and asked what their names are. A
module is read twice: functions use names that are bound further down.
"""

import ast
import builtins
import importlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ninelives.run import given
from ninelives.run.given import UNKNOWN, Known

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
#: Decorators of these modules leave a function what it is, as the project's own and marks do.
_HARMLESS = frozenset(
    {
        "abc",
        "atexit",
        "autokitteh",
        "backoff",
        "builtins",
        "contextlib",
        "dataclasses",
        "functools",
        "ninelives",
    }
    | {"retrying", "tenacity", "typing"}
)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Own:
    """A class of the project: what it defines, and what its methods give to `self`."""

    bases: list[Known] = field(default_factory=list)
    names: dict[str, Known] = field(default_factory=dict)

    def look(self, name: str) -> Known:
        """Return what instances have under a name."""
        if name in self.names:
            return self.names[name]
        found = (_inherited(base, name) for base in self.bases)
        return next((known for known in found if known != UNKNOWN), UNKNOWN)

    def has(self, name: str, known: Known) -> None:
        """Note what an attribute is; one that is this here and that there is not known."""
        self.names[name] = known if self.names.get(name, known) == known else UNKNOWN


@dataclass
class Project:
    """The modules of a project that were read so far, by their dotted names."""

    root: Path
    modules: dict[str, dict[str, Known]] = field(default_factory=dict)

    def file(self, name: str) -> Path | None:
        """Return the file of a module, the directory of a package without one, `None` where there is none."""
        path = self.root.joinpath(*name.split("."))
        candidates = (path / "__init__.py", path.with_name(f"{path.name}.py"))
        return next((file for file in candidates if file.is_file()), path if path.is_dir() else None)

    def look(self, module: str, name: str) -> Known:
        """Return what a module of the project has under a name."""
        if module not in self.modules:
            self.modules[module] = {}
            file = self.file(module)
            if file is not None and file.is_file():
                self.modules[module] = _names_of(file, module, self)
        if name in self.modules[module]:
            return self.modules[module][name]
        below = f"{module}.{name}"
        return Known("module", below) if self.file(below) is not None else UNKNOWN


def _names_of(file: Path, module: str, project: Project) -> dict[str, Known]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return {}
    reader = Names(project, package_of(file, module))
    reader.read(tree)
    return reader.scopes[0]


def package_of(file: Path, module: str) -> str:
    """Return the package in which a module's relative imports begin."""
    return module if file.name == "__init__.py" else module.rpartition(".")[0]


class Names(ast.NodeVisitor):
    """Reads a module, and knows at each place what its names are."""

    def __init__(self, project: Project, package: str) -> None:
        self.scopes: list[dict[str, Known]] = [{}]
        self.depth = 0
        self._project = project
        self._package = package
        self._classes: dict[ast.ClassDef, Own] = {}
        self._within_class: Own | None = None
        self._globals: set[str] = set()

    def read(self, tree: ast.Module) -> None:
        """Read all of a module, twice."""
        for _ in range(2):
            self.visit(tree)

    # --- what binds names -----------------------------------------------------------------------------------

    def visit_Import(self, node: ast.Import) -> None:
        """Bind what is imported."""
        for alias in node.names:
            module = alias.name if alias.asname else alias.name.partition(".")[0]
            if alias.asname is None:
                self._module(alias.name)
            self._bind(alias.asname or module, self._module(module))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Bind what is imported from a module."""
        module = node.module or ""
        if node.level:
            parts = self._package.split(".") if self._package else []
            kept = parts[: len(parts) - node.level + 1]
            found = Known("module", ".".join([*kept, *filter(None, [module])]))
        else:
            found = self._module(module)
        for alias in node.names:
            if alias.name != "*":
                self._bind(alias.asname or alias.name, self.attribute(found, alias.name))
            elif found.what == "module":
                self._project.look(found.value, "")
                self.scopes[-1].update(self._project.modules[found.value])

    def visit_Assign(self, node: ast.Assign) -> None:
        """Bind what is assigned."""
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)
            self._assign(target, node.value if len(node.targets) == 1 else None)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Bind what is assigned."""
        if node.value is not None:
            self.visit(node.value)
        self._assign(node.target, node.value)

    def _assign(self, target: ast.expr, value: ast.expr | None) -> None:
        known = UNKNOWN if value is None else self.known(value)
        if isinstance(target, ast.Name):
            self._bind(target.id, known)
        elif isinstance(target, ast.Attribute):
            owner = self.known(target.value)
            if owner.what == "of own":
                owner.value.has(target.attr, known)
        else:
            for node in ast.walk(target):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    self._bind(node.id, UNKNOWN)

    def visit_With(self, node: ast.With) -> None:
        """Bind what is entered."""
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self._assign(item.optional_vars, item.context_expr)
        for statement in node.body:
            self.visit(statement)

    def visit_Global(self, node: ast.Global) -> None:
        """Note names that belong to the module."""
        self._globals.update(node.names)

    def visit_Name(self, node: ast.Name) -> None:
        """Forget a name that is bound in another way."""
        if isinstance(node.ctx, ast.Store):
            self._bind(node.id, UNKNOWN)

    def visit_FunctionDef(self, node: _Function) -> None:
        """Bind a function, and read it."""
        for part in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(part)
        own, self._within_class = self._within_class, None
        self._bind(node.name, self._defined(node), own)
        scope = {argument.arg: self._annotated(argument) for argument in _arguments(node)}
        first = next(_arguments(node), None)
        if own is not None and first is not None and "staticmethod" not in map(_last, node.decorator_list):
            is_of_class = "classmethod" in map(_last, node.decorator_list)
            scope[first.arg] = Known("class" if is_of_class else "of own", own)
        outer, self._globals = self._globals, set()
        self._body(scope, node.body)
        self._globals, self._within_class = outer, own

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the name is `ast`'s

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Read a lambda."""
        self._body({argument.arg: UNKNOWN for argument in _arguments(node)}, [node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Bind a class, and read it."""
        own = self._classes.setdefault(node, Own())
        for part in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)):
            self.visit(part)
        own.bases = [self.known(base) for base in node.bases]
        self._bind(node.name, Known("class", own))
        outer, self._within_class = (dict(self.scopes[-1]), self._within_class), own
        for statement in node.body:
            self.visit(statement)
        known, self._within_class = outer
        own.names |= {name: v for name, v in self.scopes[-1].items() if known.get(name) is not v}
        self.scopes[-1] = known  # methods do not see each other's names

    def _defined(self, node: _Function) -> Known:
        mark = _mark_of(node)
        if mark or all(map(self._is_harmless, node.decorator_list)):
            return Known("function", mark)
        return UNKNOWN

    def _is_harmless(self, decorator: ast.expr) -> bool:
        found = self.known(decorator.func if isinstance(decorator, ast.Call) else decorator)
        if found.what in {"name", "part"}:
            return found.value.partition(".")[0] in _HARMLESS
        module = str(getattr(found.value, "__module__", "")).partition(".")[0]
        return found.what == "function" or (found.what == "object" and module in _HARMLESS)

    def _body(self, scope: dict[str, Known], body: list[Any]) -> None:
        self.scopes.append(scope)
        self.depth += 1
        for part in body:
            self.visit(part)
        self.depth -= 1
        self.scopes.pop()

    def _annotated(self, argument: ast.arg) -> Known:
        found = self.known(argument.annotation) if argument.annotation is not None else UNKNOWN
        if found.what == "class":
            return Known("of own", found.value)
        return Known("instance", found.value) if isinstance(found.value, type) else UNKNOWN

    def _bind(self, name: str, known: Known, own: Own | None = None) -> None:
        if own is not None and known.what == "function":
            own.names[name] = known
        if name in self._globals:
            first = self.scopes[0].setdefault(name, known)
            self.scopes[0][name] = known if first == known else UNKNOWN
        else:
            self.scopes[-1][name] = known

    def _module(self, name: str) -> Known:
        if self._project.file(name.partition(".")[0]) is not None:
            return Known("module", name)
        try:
            return Known("object", importlib.import_module(name))
        except Exception:
            return Known("name", name)

    # --- what an expression is ------------------------------------------------------------------------------

    def known(self, node: ast.expr) -> Known:
        """Return what an expression is, here."""
        match node:
            case ast.Name(id=name):
                return self._named(name)
            case ast.Attribute(value=owner, attr=name):
                return self.attribute(self.known(owner), name)
            case ast.Call(func=function):
                return given.returned(self.known(function))
            case ast.Await(value=awaited):
                return self.known(awaited)
            case ast.Constant(value=value):
                return Known("instance", type(value))
        cls = _LITERALS.get(type(node))
        return Known("instance", cls) if cls is not None else UNKNOWN

    def _named(self, name: str) -> Known:
        for scope in reversed(self.scopes):
            found: Known | None = scope.get(name)
            if found is not None:
                return found
        return Known("object", getattr(builtins, name)) if hasattr(builtins, name) else UNKNOWN

    def attribute(self, owner: Known, name: str) -> Known:
        """Return what something has under a name."""
        match owner.what:
            case "module":
                return self._project.look(owner.value, name)
            case "class" | "of own":
                found: Known = owner.value.look(name)
                return found
            case "name" | "part":
                return given.of_name(owner, name)
            case "object" | "instance":
                return self._of_object(owner, name)
        return UNKNOWN

    def _of_object(self, owner: Known, name: str) -> Known:
        if owner.value is sys and name in {"stdout", "stderr"}:
            return Known("of own", Own(names=_STREAM))
        try:
            found = getattr(owner.value, name)
        except AttributeError:
            return given.made(owner, name) or self._submodule(owner.value, name)
        except Exception:
            return UNKNOWN
        if owner.what == "instance" and not callable(found):
            return given.read(found) or given.made(owner, name) or UNKNOWN
        return Known("object", found)

    def _submodule(self, owner: Any, name: str) -> Known:
        return self._module(f"{owner.__name__}.{name}") if inspect.ismodule(owner) else UNKNOWN


#: A session's own streams record what is written to them.
_STREAM = {name: Known("function", "") for name in ("write", "writelines", "flush", "isatty")}


def _inherited(base: Known, name: str) -> Known:
    """Return what a class has from one of its bases."""
    match base.what:
        case "class":
            found: Known = base.value.look(name)
            return found
        case "name":
            return Known("name", f"{base.value}.{name}")
        case "object":
            value = getattr(base.value, name, None)
            return Known("object", value) if callable(value) and not isinstance(value, type) else UNKNOWN
    return UNKNOWN


def _arguments(node: _Function | ast.Lambda) -> Iterator[ast.arg]:
    found = node.args
    yield from (*found.posonlyargs, *found.args, *found.kwonlyargs)
    yield from filter(None, (found.vararg, found.kwarg))


def _last(node: ast.expr) -> str:
    function = node.func if isinstance(node, ast.Call) else node
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _mark_of(node: _Function) -> str:
    """Return what the decorators say: step, live, inhibit, or AutoKitteh's activity."""
    marks = {
        "step": "step",
        "activity": "step",
        "live": "step",
        "inhibit": "direct",
        "inhibit_activities": "direct",
    }
    return next((marks[name] for name in map(_last, node.decorator_list) if name in marks), "")
