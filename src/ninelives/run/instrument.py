"""Rewrites a module of the project so that each of its calls can be decided upon when it is made.

    f(x)              ->  CALL(f)(x)
    a.f(x)            ->  METHOD(a.f)(x)
    for a in b        ->  for a in ITEMS(b)
    with a as b       ->  with ENTER(a) as b

`CALL` and `METHOD`, which knows more of the name, return `f` itself or something that makes a step, before
the arguments are evaluated; a direct call has no frame of ours in between, so `super()`, `locals()` and
tracebacks behave as written. Arguments are rewritten first, so that `f(g())` covers both. What is decided is
`classify`'s business; here is only the grammar.

Left alone: calls of builtins that only compute and whose names the module does not bind; patterns,
annotations, attribute access, operators. Line numbers and columns stay those of the source.
"""

import ast
from typing import Final

#: Names that the rewritten code finds among the builtins.
CALL: Final = "__ninelives_call__"
METHOD: Final = "__ninelives_method__"
ITEMS: Final = "__ninelives_items__"
ASYNC_ITEMS: Final = "__ninelives_async_items__"
ENTER: Final = "__ninelives_enter__"
ASYNC_ENTER: Final = "__ninelives_async_enter__"

#: Part of the name under which compiled code is kept: change it with the grammar.
VERSION: Final = 2

#: Methods of plain values that are given callables, iterables or files; `METHOD` asks about all others.
GIVEN: Final = frozenset({"difference_update", "extend", "intersection_update", "join", "sort", "update"})

#: Builtins that are called directly whatever they are given.
ALWAYS_DIRECT: Final = frozenset(
    {
        "abs", "ascii", "bin", "bool", "callable", "chr", "classmethod", "complex", "delattr", "dir",
        "divmod", "float", "format", "getattr", "globals", "hasattr", "hash", "hex", "id", "int",
        "isinstance",
        "issubclass", "len", "locals", "object", "oct", "ord", "pow", "print", "property", "range",
        "repr", "round", "setattr",
        "slice", "staticmethod", "str", "super", "type", "vars",
    }
)  # fmt: skip
#: Iterables that are lists of plain values as they stand need no question either.
_PLAIN_ITERABLES = (
    ast.List,
    ast.Tuple,
    ast.Dict,
    ast.Set,
    ast.Constant,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
)


def instrument(tree: ast.Module) -> ast.Module:
    """Rewrite a module in place and return it."""
    return _Rewriter(ALWAYS_DIRECT - _bound_names(tree)).rewrite(tree)


def compile_source(source: bytes, filename: str, *, is_durable: bool) -> object:
    """Compile a module of the project, rewritten where the session is durable."""
    tree = ast.parse(source, filename)
    if is_durable:
        tree = instrument(tree)
    return compile(tree, filename, "exec", dont_inherit=True)


def _bound_names(tree: ast.Module) -> set[str]:
    """Return every name that the module binds anywhere, in any scope."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.arg(arg=name):
                found.add(name)
            case ast.alias(name="*"):
                found |= ALWAYS_DIRECT
            case ast.alias(name=name, asname=asname):
                found.add(asname or name.partition(".")[0])
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                found.add(name)
            case ast.MatchMapping(rest=str(name)):
                found.add(name)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                found.update(names)
    return found


class _Rewriter(ast.NodeTransformer):
    def __init__(self, direct: frozenset[str]) -> None:
        self._direct = direct

    def rewrite(self, tree: ast.Module) -> ast.Module:
        self.visit(tree)
        return tree

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        match node.func:
            case ast.Name(id=name) if name in self._direct:
                pass
            case ast.Attribute(attr=name) if name not in GIVEN:
                node.func = _ask(METHOD, node.func)
            case _:
                node.func = _ask(CALL, node.func)
        return node

    def visit_For(self, node: ast.For) -> ast.stmt:
        self.generic_visit(node)
        node.iter = self._items(node.iter)
        return node

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.stmt:
        self.generic_visit(node)
        node.iter = _ask(ASYNC_ITEMS, node.iter)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        self.generic_visit(node)
        node.iter = _ask(ASYNC_ITEMS, node.iter) if node.is_async else self._items(node.iter)
        return node

    def visit_YieldFrom(self, node: ast.YieldFrom) -> ast.expr:
        self.generic_visit(node)
        node.value = self._items(node.value)
        return node

    def visit_With(self, node: ast.With) -> ast.stmt:
        return self._enter(node, ENTER)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.stmt:
        return self._enter(node, ASYNC_ENTER)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        if node.value is not None:
            node.value = self.visit(node.value)
        node.target = self.visit(node.target)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return node  # its annotation

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.stmt:
        return self._function(node)

    def visit_Match(self, node: ast.Match) -> ast.stmt:
        node.subject = self.visit(node.subject)
        for case in node.cases:
            if case.guard is not None:
                case.guard = self.visit(case.guard)
            case.body = [self.visit(statement) for statement in case.body]
        return node

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.stmt:
        returns, node.returns = node.returns, None
        self.generic_visit(node)
        node.returns = returns
        return node

    def _enter(self, node: ast.With | ast.AsyncWith, name: str) -> ast.stmt:
        self.generic_visit(node)
        for item in node.items:
            item.context_expr = _ask(name, item.context_expr)
        return node

    def _items(self, node: ast.expr) -> ast.expr:
        is_range = (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "range"
            and "range" in self._direct
        )
        return node if is_range or isinstance(node, _PLAIN_ITERABLES) else _ask(ITEMS, node)


def _ask(name: str, node: ast.expr) -> ast.Call:
    """Return `name(node)`, standing where `node` stands."""
    asked = ast.Call(func=ast.Name(id=name, ctx=ast.Load()), args=[node], keywords=[])
    ast.copy_location(asked.func, node)
    return ast.copy_location(asked, node)
