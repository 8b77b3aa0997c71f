"""Rewrites a module of the project so that each of its calls can be decided upon when it is made.

    f(x)              ->  CALL(f)(x)
    a.f(x)            ->  a.f(x) if TYPE(a) in TYPES_OF_f else METHOD(a.f)(x)
    a.b.f(x)          ->  METHOD(a.b.f)(x)
    for a in b        ->  for a in ITEMS(b)
    with a as b       ->  with ENTER(a) as b

`CALL` and `METHOD`, which knows more of the name, return `f` itself or something that makes a step, before
the arguments are evaluated; a direct call has no frame of ours in between, so `super()`, `locals()` and
tracebacks behave as written. Arguments are rewritten first, so that `f(g())` covers both. What is decided is
`classify`'s business; here is only the grammar.

Left alone: calls of builtins that only compute and whose names the module does not bind, and methods of
literals; patterns, annotations, attribute access, operators. Line numbers and columns stay those of the
source.

A module tells first (`MODULE`) of which methods it looks for the type of the receiver (`settled`), and which
attributes it stores.
"""

import ast
from collections.abc import Iterable, Sequence
from typing import Final

#: Names that the rewritten code finds among the builtins.
CALL: Final = "__ninelives_call__"
METHOD: Final = "__ninelives_method__"
ITEMS: Final = "__ninelives_items__"
ASYNC_ITEMS: Final = "__ninelives_async_items__"
ENTER: Final = "__ninelives_enter__"
ASYNC_ENTER: Final = "__ninelives_async_enter__"
TYPE: Final = "__ninelives_type__"
MODULE: Final = "__ninelives_module__"

#: Part of the name under which compiled code is kept: change it with the grammar.
VERSION: Final = 3

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


#: Whoever knows one of these can store an attribute whose name no source tells.
_STORING = frozenset(
    {"__bases__", "__delattr__", "__dict__", "__setattr__", "delattr", "eval", "exec", "mock",
     "setattr", "vars"}
)  # fmt: skip
#: Arguments that are not written twice: they make code of their own, or bind names.
_ONCE = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.NamedExpr)
#: Nodes of arguments that are written twice at most; more would make long code of nested calls.
_SHORT: Final = 40
#: Literals whose type is seen here. An f-string is a `str`.
_LITERALS = str | bytes | int | float


def types_of(name: str) -> str:
    """Return the name of the set of the types whose method of a name is direct."""
    return f"__ninelives_types_{name}__"


def instrument(tree: ast.Module) -> ast.Module:
    """Rewrite a module in place and return it."""
    stored = _stored_attributes(tree)
    rewriter = _Rewriter(ALWAYS_DIRECT - _bound_names(tree), _names_of_things(tree))
    rewriter.rewrite(tree)
    _declare(tree, sorted(rewriter.called), None if stored is None else sorted(stored))
    return tree


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


def _names_of_things(tree: ast.Module) -> set[str]:
    """Return the names of modules, classes and what else is imported: their attributes are no methods."""
    found = {"cls"}
    for node in ast.walk(tree):
        match node:
            case ast.alias(name=name, asname=asname):
                found.add(asname or name.partition(".")[0])
            case ast.ClassDef(name=name):
                found.add(name)
    return found


def _stored_attributes(tree: ast.Module) -> set[str] | None:
    """Return the names of the attributes that a module stores or deletes; `None` where it may be any."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) if name in _STORING:
                return None
            case ast.Constant(value=str(name)) if name in _STORING:
                return None
            case ast.Attribute(attr=name, ctx=ast.Store() | ast.Del()):
                found.add(name)
            case ast.ImportFrom(module=str(name)) | ast.alias(name=name) if "mock" in name.split("."):
                return None
    return found


def _declare(tree: ast.Module, called: Sequence[str], stored: Sequence[str] | None) -> None:
    """Have a module say what it calls and stores, behind its docstring and its imports from the future."""
    if not called and stored is not None and not stored:
        return
    last = len(tree.body) - 1
    at = next((at for at, node in enumerate(tree.body) if not _comes_first(at, node)), last + 1)
    told = ast.Expr(
        ast.Call(
            ast.Name(MODULE, ast.Load()),
            [_names(called), ast.Constant(None) if stored is None else _names(stored)],
            [],
        )
    )
    ast.copy_location(told, tree.body[min(at, last)])
    told.end_lineno, told.end_col_offset = told.lineno, told.col_offset
    tree.body.insert(at, ast.fix_missing_locations(told))


def _comes_first(at: int, node: ast.stmt) -> bool:
    """Tell whether a statement of a module must stay before all others."""
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return at == 0
        case ast.ImportFrom(module="__future__"):
            return True
    return False


def _names(names: Iterable[str]) -> ast.Tuple:
    return ast.Tuple([ast.Constant(name) for name in names], ast.Load())


class _Rewriter(ast.NodeTransformer):
    """Rewrites a module.

    Attributes:
        called: The names of the methods for which the receiver's type is looked at.
    """

    def __init__(self, direct: frozenset[str], things: set[str]) -> None:
        self.called: set[str] = set()
        self._direct = direct
        self._things = things

    def rewrite(self, tree: ast.Module) -> ast.Module:
        self.visit(tree)
        return tree

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        match node.func:
            case ast.Name(id=name) if name in self._direct:
                pass
            case ast.Attribute(value=value, attr=name) if name not in GIVEN and _is_literal(value):
                pass
            case ast.Attribute(value=ast.Name(id=receiver), attr=name) if self._has_type(receiver, name):
                return self._by_type(node, node.func)
            case ast.Attribute() as attribute:
                node.func = _ask_of(attribute)
            case _:
                node.func = _ask(CALL, node.func)
        return node

    def _has_type(self, receiver: str, name: str) -> bool:
        """Tell whether the type of what a name stands for may tell what its method is."""
        is_private = name.startswith("__") and not name.endswith("__")  # another name in each class
        return receiver not in self._things and not is_private

    def _by_type(self, node: ast.Call, attribute: ast.Attribute) -> ast.expr:
        """Return a call that asks only where the type of its receiver does not tell."""
        receiver, name = attribute.value, attribute.attr
        self.called.add(name)
        of_type = ast.Call(ast.Name(TYPE, ast.Load()), [receiver], [])
        test = ast.Compare(of_type, [ast.In()], [ast.Name(types_of(name), ast.Load())])
        for made in (of_type.func, of_type, test.comparators[0], test):
            ast.copy_location(made, receiver)
        if _is_short(node):
            asked = ast.copy_location(ast.Call(_ask_of(attribute), node.args, node.keywords), node)
            return ast.copy_location(ast.IfExp(test, node, asked), node)
        node.func = ast.copy_location(ast.IfExp(test, attribute, _ask_of(attribute)), attribute)
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


def _ask_of(attribute: ast.Attribute) -> ast.Call:
    return _ask(CALL if attribute.attr in GIVEN else METHOD, attribute)


def _is_literal(node: ast.expr) -> bool:
    """Tell whether a value is plain by its looks."""
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant)
        and isinstance(node.value, _LITERALS)
        and not isinstance(node.value, bool)
    )


def _is_short(call: ast.Call) -> bool:
    """Tell whether a call's arguments, rewritten already, can be written twice."""
    count = 0
    for given in (*call.args, *call.keywords):
        for node in ast.walk(given):
            count += 1
            if count > _SHORT or isinstance(node, _ONCE):
                return False
    return True
