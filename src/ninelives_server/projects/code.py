"""What a project's Python code offers and needs, found by reading its syntax: nothing of it is run here."""

import ast
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ninelives_server.model.projects import Entrypoint
from ninelives_server.projects import uses
from ninelives_server.projects.bundles import Bundle
from ninelives_server.projects.uses import Use

# `warnings.catch_warnings` is global to the process: two threads in it would restore each other's filters.
_PARSING = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What was found in the `.py` files of a bundle.

    Attributes:
        entrypoints: Functions and classes that stand at the top level of a file, in the order of the files.
        imports: Dotted names of the modules that are imported anywhere, without the project's own.
        installs: What `packages.install(…)` of AutoKitteh is given as plain text.
        broken: Line and reason for each file that is no Python.
        uses: Where the code names connections and triggers.
    """

    entrypoints: tuple[Entrypoint, ...]
    imports: frozenset[str]
    installs: tuple[str, ...]
    broken: Mapping[str, tuple[int, str]]
    uses: tuple[Use, ...] = ()

    def names_in(self, file: str) -> list[str]:
        """Return the entry points of a file."""
        return [entrypoint.name for entrypoint in self.entrypoints if entrypoint.file == file]


def scan(bundle: Bundle) -> Code:
    """Read all `.py` files of a bundle."""
    entrypoints: list[Entrypoint] = []
    imports: set[str] = set()
    installs: list[str] = []
    broken: dict[str, tuple[int, str]] = {}
    used: list[Use] = []
    for path, file in bundle.files.items():
        if not path.endswith(".py"):
            continue
        tree = _parse(file.data)
        if isinstance(tree, ast.Module):
            entrypoints.extend(_entrypoints(path, tree))
            imports.update(_imports(tree))
            installs.extend(_installs(tree))
            used.extend(uses.find(path, tree))
        else:
            broken[path] = tree
    own = {path.partition("/")[0].removesuffix(".py") for path in bundle.files if path.endswith(".py")}
    foreign = frozenset(name for name in imports if name.partition(".")[0] not in own)
    return Code(
        entrypoints=tuple(entrypoints),
        imports=foreign,
        installs=tuple(dict.fromkeys(installs)),
        broken=broken,
        uses=tuple(used),
    )


def _parse(data: bytes) -> ast.Module | tuple[int, str]:
    try:
        with _PARSING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(data)
    except SyntaxError as error:
        return error.lineno or 1, error.msg
    except (ValueError, RecursionError, MemoryError) as error:
        return 1, str(error) or "is nested too deeply"


def _entrypoints(path: str, tree: ast.Module) -> Iterator[Entrypoint]:
    found: dict[str, Entrypoint] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            # A later definition takes the place of an earlier one, as it does when the module runs.
            found[node.name] = Entrypoint(file=path, name=node.name, line=node.lineno, args=_args(node))
    yield from found.values()


def _args(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> tuple[str, ...]:
    """Return the positional parameters of a function, or those of a class' `__init__` without `self`."""
    if isinstance(node, ast.ClassDef):
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
                return _args(inner)[1:]
        return ()
    return tuple(arg.arg for arg in [*node.args.posonlyargs, *node.args.args])


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            # `from autokitteh import slack` imports a module too, as far as one can see here.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _installs(tree: ast.Module) -> Iterator[str]:
    """Yield the requirements in calls of `packages.install`: a text, or a pair whose first is one."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not ast.unparse(node.func).endswith("packages.install"):
            continue
        for given in node.args:
            first = given.elts[0] if isinstance(given, ast.List | ast.Tuple) and given.elts else given
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value
