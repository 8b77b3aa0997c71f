"""Instrumented code behaves as the original: same values, same order, same errors on the same lines."""

import ast
import asyncio
import builtins
import re
import traceback

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ninelives.run import instrument
from ninelives.run.settled import Settled

HOOKS = (
    instrument.CALL,
    instrument.METHOD,
    instrument.ITEMS,
    instrument.ASYNC_ITEMS,
    instrument.ENTER,
    instrument.ASYNC_ENTER,
)


@pytest.fixture(autouse=True)
def _hooks():
    """The rewritten code asks, and is always told: as it is."""
    asked = []

    def identity(thing):
        asked.append(thing)
        return thing

    settled = Settled(lambda cls: False)
    before = set(vars(builtins))
    for name in HOOKS:
        setattr(builtins, name, identity)
    setattr(builtins, instrument.TYPE, type)
    setattr(builtins, instrument.MODULE, settled.declare)
    yield asked
    for name in set(vars(builtins)) - before:
        delattr(builtins, name)


# --- random programs ------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c"])


def _expressions():
    atoms = st.one_of(
        st.integers(-3, 3).map(str),
        NAMES,
        st.sampled_from(["'x'", "True", "None", "[1, 2]", "(3,)", "{'k': 1}", "d.items"]),
    )

    def wider(inner):
        pair = st.tuples(inner, inner)
        return st.one_of(
            inner.map(lambda x: f"f({x})"),
            pair.map(lambda p: f"g({p[0]}, k={p[1]})"),
            pair.map(lambda p: f"f(*[{p[0]}], **{{'k': {p[1]}}})"),
            inner.map(lambda x: f"d.m({x}).m(1)"),
            inner.map(lambda x: f"(lambda v: f(v))({x})"),
            inner.map(lambda x: f"[f(v) for v in it({x}) if f(v)]"),
            inner.map(lambda x: f"{{v: f(v) for v in it({x})}}"),
            inner.map(lambda x: f"list(f(v) for v in it({x}))"),
            inner.map(lambda x: f"f'{{f({x})}}!'"),
            pair.map(lambda p: f"({p[0]} if f({p[1]}) else {p[1]})"),
            pair.map(lambda p: f"({p[0]} or f({p[1]}))"),
            inner.map(lambda x: f"len(str({x}))"),
            inner.map(lambda x: f"(w := f({x}))"),
            inner.map(lambda x: f"sorted([1, 2], key=lambda v: -v)[f(0) and 0:] + [{x}]"),
        )

    return st.recursive(atoms, wider, max_leaves=6)


def _statements():
    expression = _expressions()
    simple = st.one_of(
        st.tuples(NAMES, expression).map(lambda t: [f"{t[0]} = {t[1]}"]),
        expression.map(lambda x: [f"log({x})"]),
        expression.map(lambda x: [f"a: int(1) = f({x})"]),
        st.sampled_from(
            [["f(1 / 0)"], ["raise Boom(f(1))"], ["return f(a)"], ["del c", "c = 1"], ["assert f(a), g(b)"]]
        ),
    )

    def indent(blocks):
        return [f"    {line}" for block in blocks for line in block]

    def wider(inner):
        body = st.lists(inner, min_size=1, max_size=3)
        return st.one_of(
            st.tuples(expression, body).map(lambda t: [f"if f({t[0]}):", *indent(t[1])]),
            st.tuples(expression, body).map(lambda t: [f"for b in it({t[0]}):", *indent(t[1])]),
            st.tuples(expression, body).map(lambda t: [f"with ctx({t[0]}) as c:", *indent(t[1])]),
            st.tuples(body, body).map(
                lambda t: [
                    "try:",
                    *indent(t[0]),
                    "except Boom as error:",
                    *indent(t[1]),
                    "    log(str(error))",
                ]
            ),
            st.tuples(expression, body).map(
                lambda t: [f"def inner(x=f({t[0]})):", *indent(t[1]), "log(inner())"]
            ),
            st.tuples(expression, body).map(
                lambda t: [
                    "class K(Base):",
                    "    def __init__(self):",
                    "        super().__init__()",
                    f"        self.v = f({t[0]})",
                    "log(K().v)",
                ]
            ),
            st.tuples(expression, expression).map(
                lambda t: [
                    f"match f({t[0]}):",
                    f"    case 1 if f({t[1]}):",
                    "        log(1)",
                    "    case _:",
                    "        log(2)",
                ]
            ),
        )

    return st.recursive(simple, wider, max_leaves=8)


PROGRAMS = st.lists(_statements(), min_size=1, max_size=5).map(
    lambda blocks: "\n".join(
        ["def main(a, b, c):", *[f"    {line}" for block in blocks for line in block], "    return (a, b, c)"]
    )
)


class Boom(Exception):
    pass


class Base:
    def __init__(self):
        self.base = True


def outcome(code):
    """Run a program and return all that it did."""
    log = []

    class D:
        items = (4, 5)

        def m(self, value):
            log.append(("m", repr(value)))
            return self

        def __repr__(self):
            return "D()"

    class Ctx:
        def __init__(self, value):
            self.value = value

        def __enter__(self):
            log.append("enter")
            return self.value

        def __exit__(self, *error):
            log.append(("exit", error[0] and error[0].__name__))

    def f(value=None, k=None):
        log.append(("f", repr(value), repr(k)))
        return value if isinstance(value, int) else 1

    def g(value, k=None):
        log.append(("g", repr(value), repr(k)))
        return k

    def it(value):
        log.append(("it", repr(value)))
        return [1, 0] if value else ()

    space = {"f": f, "g": g, "it": it, "log": lambda v: log.append(repr(v)), "d": D(), "ctx": Ctx}
    space |= {"Boom": Boom, "Base": Base}
    exec(code, space)
    try:
        result = repr(space["main"](1, 2, 3))
    except Exception as error:
        lines = [(frame.lineno, frame.name) for frame in traceback.extract_tb(error.__traceback__)[1:]]
        result = (
            type(error).__name__,
            str(error),
            [line for line in lines if line[1] in {"main", "inner", "__init__"}],
        )
    return result, log


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(PROGRAMS)
def test_instrumented_code_behaves_as_the_original(source):
    """
    Values, the order of calls, errors with their lines: all as written, for programs made of everything that
    the grammar treats.
    """
    try:
        original = compile(source, "program.py", "exec")
    except SyntaxError:
        assume(False)  # quotes in an f-string, before Python 3.12
    rewritten = instrument.compile_source(source.encode(), "program.py", is_durable=True)

    assert outcome(rewritten) == outcome(original)


# --- single rules ---------------------------------------------------------------------------------------


def rewritten(source):
    """Return rewritten source, without what a module says of itself."""
    tree = instrument.instrument(ast.parse(source))
    tree.body = [node for node in tree.body if not declaration(node)]
    text = ast.unparse(tree)
    for name, short in zip(HOOKS, ("CALL", "METHOD", "ITEMS", "AITEMS", "ENTER", "AENTER"), strict=True):
        text = text.replace(name, short)
    return re.sub(r"__ninelives_types_(\w+)__", r"OF_\1", text.replace(instrument.TYPE, "TYPE"))


def declaration(node):
    """Return what a module says that it calls and stores, if this is where it does."""
    match node:
        case ast.Expr(value=ast.Call(func=ast.Name(id=instrument.MODULE), args=args)):
            return [ast.literal_eval(arg) for arg in args]
    return None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("f(g())", "CALL(f)(CALL(g)())"),
        ("a.b(\n  1\n).c()", "METHOD((a.b(1) if TYPE(a) in OF_b else METHOD(a.b)(1)).c)()"),
        ("a.b.c(1)", "METHOD(a.b.c)(1)"),
        ("a.b(*c, d=e.f)", "a.b(*c, d=e.f) if TYPE(a) in OF_b else METHOD(a.b)(*c, d=e.f)"),
        ("a.b(lambda: 1)", "(a.b if TYPE(a) in OF_b else METHOD(a.b))(lambda: 1)"),
        ("a.b(c := 1)", "(a.b if TYPE(a) in OF_b else METHOD(a.b))((c := 1))"),
        (f"a.b({'-' * 40}1)", f"(a.b if TYPE(a) in OF_b else METHOD(a.b))({'-' * 40}1)"),
        ("import a\na.b(1)", "import a\nMETHOD(a.b)(1)"),
        ("from a import c\nc.b(1)", "from a import c\nMETHOD(c.b)(1)"),
        ("class A: pass\nA.b(1)", "class A:\n    pass\nMETHOD(A.b)(1)"),
        ("a.__b(1)", "METHOD(a.__b)(1)"),
        ("'{}'.format(f(1))", "'{}'.format(CALL(f)(1))"),
        ("f'{a}'.upper()", "f'{a}'.upper()"),
        ("','.join(a)", "CALL(','.join)(a)"),
        ("True.real()", "METHOD(True .real)()"),
        ("f()()", "CALL(CALL(f)())()"),
        (
            "x.join(y)\nx.y.sort()",
            "x.join(y) if TYPE(x) in OF_join else CALL(x.join)(y)\nCALL(x.y.sort)()",
        ),
        ("f(x=g(), *h(), **k())", "CALL(f)(*CALL(h)(), x=CALL(g)(), **CALL(k)())"),
        ("len(f())", "len(CALL(f)())"),
        ("from m import len\nlen(x)", "from m import len\nCALL(len)(x)"),
        ("from m import *\nlen(x)", "from m import *\nCALL(len)(x)"),
        ("open(x)", "CALL(open)(x)"),
        ("[f(x) for x in xs]", "[CALL(f)(x) for x in ITEMS(xs)]"),
        ("[x for x in [1, 2]]", "[x for x in [1, 2]]"),
        ("[x for x in range(3)]", "[x for x in range(3)]"),
        ("@d(1)\n@e\ndef f(): pass", "@CALL(d)(1)\n@e\ndef f():\n    pass"),
        ("x: f() = g()", "x: f() = CALL(g)()"),
        ("def f(x: g()=h()) -> k(): pass", "def f(x: g()=CALL(h)()) -> k():\n    pass"),
        ("with f() as x, y:\n    pass", "with ENTER(CALL(f)()) as x, ENTER(y):\n    pass"),
        ("def f():\n    yield from g()", "def f():\n    yield from ITEMS(CALL(g)())"),
    ],
)
def test_the_grammar(source, expected):
    """Arguments are rewritten as well; annotations, plain builtins and plain displays are not."""
    assert rewritten(source) == expected


@pytest.mark.parametrize(
    ("source", "called", "stored"),
    [
        ("a.b(); a.c = 1; del a.d.e; a.f += 1\nfor a.g in []: pass", ("b",), ("c", "e", "f", "g")),
        ("a.b()", ("b",), ()),
        ("a.c = 1", (), ("c",)),
        ("setattr(a, 'b', 1)", (), None),
        ("change = setattr", (), None),
        ("from builtins import setattr as change", (), None),
        ("getattr(builtins, 'setattr')(a, n, 1)", (), None),
        ("self.__dict__ |= more", (), None),
        ("object.__setattr__(self, 'a', 1)", ("__setattr__",), None),
        ("exec(code)", (), None),
        ("from unittest import mock", (), None),
        ("from unittest.mock import patch", (), None),
        ("import unittest.mock as m", (), None),
    ],
)
def test_a_module_says_what_it_calls_and_stores(source, called, stored):
    """Where the names of attributes cannot be told from the source, it may store any."""
    tree = instrument.instrument(ast.parse(source))

    assert [found for node in tree.body if (found := declaration(node))] == [[called, stored]]


def test_a_module_that_calls_and_stores_nothing_says_nothing():
    assert ast.unparse(instrument.instrument(ast.parse("import a\nx = 1"))) == "import a\nx = 1"


def test_a_module_speaks_behind_its_docstring_and_its_imports_from_the_future():
    """Both have to come first; its lines stay where they are."""
    source = '"""What it is."""\nfrom __future__ import annotations\n\nx: nowhere = "a"\nx.upper()\n'
    space = {}

    exec(instrument.compile_source(source.encode(), "p.py", is_durable=True), space)

    assert (space["__doc__"], space["__annotations__"]) == ("What it is.", {"x": "nowhere"})


def test_a_module_of_nothing_but_what_comes_first_can_be_compiled():
    """Its docstring is a word of those that may store anything."""
    source = b"'exec'\nfrom __future__ import annotations\n"

    exec(instrument.compile_source(source, "p.py", is_durable=True), {})


def test_nested_calls_are_not_written_twice_at_each_level():
    """Code that doubled with each level would be a thousand times as long here."""
    source = "a"
    for _ in range(10):
        source = f"a.b({source})"

    assert len(ast.unparse(instrument.instrument(ast.parse(source)))) < 60 * len(source)


def test_coroutines_are_asked_about_too(_hooks):
    """`await`, `async with`, `async for` and asynchronous comprehensions work as written."""
    source = """
async def numbers(n):
    for i in range(n):
        yield i

class Ctx:
    async def __aenter__(self):
        return 5
    async def __aexit__(self, *error):
        return False

async def double(x):
    return x * 2

async def main():
    total = [await double(x) async for x in numbers(3)]
    async for x in numbers(2):
        total.append(x)
    async with Ctx() as five:
        total.append(five)
    return total
"""
    space = {}
    exec(instrument.compile_source(source.encode(), "p.py", is_durable=True), space)

    found = asyncio.run(space["main"]())

    assert found == [0, 2, 4, 0, 1, 5]
    assert len(_hooks) == 9  # not of `append`, a method of a list


def test_frames_of_the_user_stand_directly_above_each_other():
    """A direct call has no frame of ours in between."""
    source = "import inspect\ndef a():\n    return b()\ndef b():\n    return [f.function for f in inspect.stack()][:2]\n"
    space = {}
    exec(instrument.compile_source(source.encode(), "p.py", is_durable=True), space)

    assert space["a"]() == ["b", "a"]
