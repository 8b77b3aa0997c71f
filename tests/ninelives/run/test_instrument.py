"""Instrumented code behaves as the original: same values, same order, same errors on the same lines."""

import ast
import asyncio
import builtins
import traceback

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ninelives.run import instrument

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

    for name in HOOKS:
        setattr(builtins, name, identity)
    yield asked
    for name in HOOKS:
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
    tree = instrument.instrument(ast.parse(source))
    text = ast.unparse(tree)
    for name, short in zip(HOOKS, ("CALL", "METHOD", "ITEMS", "AITEMS", "ENTER", "AENTER"), strict=True):
        text = text.replace(name, short)
    return text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("f(g())", "CALL(f)(CALL(g)())"),
        ("a.b(\n  1\n).c()", "METHOD(METHOD(a.b)(1).c)()"),
        ("f()()", "CALL(CALL(f)())()"),
        ("x.join(y); x.sort()", "CALL(x.join)(y)\nCALL(x.sort)()"),
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
    assert len(_hooks) == 12


def test_frames_of_the_user_stand_directly_above_each_other():
    """A direct call has no frame of ours in between."""
    source = "import inspect\ndef a():\n    return b()\ndef b():\n    return [f.function for f in inspect.stack()][:2]\n"
    space = {}
    exec(instrument.compile_source(source.encode(), "p.py", is_durable=True), space)

    assert space["a"]() == ["b", "a"]
