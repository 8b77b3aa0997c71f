"""Methods that are called without asking: never one that is a step, however it came to its receiver."""

import builtins
import types
from collections import UserList
from dataclasses import dataclass, replace
from enum import Enum

import pytest

from ninelives.run import instrument
from ninelives.run.settled import PLAIN_OWNERS, Settled


class Base:
    def run(self):
        return "base"


class Derived(Base):
    pass


class Other(Base):
    def run(self):
        return "other"


class Strange(Base):
    def __getattribute__(self, name):
        return object.__getattribute__(self, name)


class Meta(type):
    def run(cls):
        return "meta"


class Made(metaclass=Meta):
    pass


class Listed(UserList, Base):
    pass


class Fields(Base):
    run: object


class Number(Enum):
    ONE = 1

    def run(self):
        return self.value


@dataclass
class Job:
    number: int

    def run(self):
        return self.number


@pytest.fixture
def settled():
    before = set(vars(builtins))
    yield Settled(lambda cls: cls.__module__ == __name__)
    for name in set(vars(builtins)) - before:
        delattr(builtins, name)


def found(name="run"):
    """Return the types for which rewritten code does not ask, beside plain ones."""
    return getattr(builtins, instrument.types_of(name)) - PLAIN_OWNERS


def test_plain_values_are_settled_from_the_beginning(settled):
    """But for methods that are given something that has to be looked at."""
    settled.declare(("upper", "sort"), ())

    assert getattr(builtins, instrument.types_of("upper")) == PLAIN_OWNERS
    assert getattr(builtins, instrument.types_of("sort")) == set()


def test_a_method_is_settled_for_all_classes_that_have_it(settled):
    """Not for one with another method, with attributes of its own making, or with a library's base."""
    settled.declare(("run",), ())

    settled.settle(Derived().run)

    assert found() == {Base, Derived}


@pytest.mark.parametrize(("one", "cls"), [(Job(1), Job), (Number.ONE, Number)])
def test_classes_that_the_standard_library_makes_are_settled_too(settled, one, cls):
    settled.declare(("run",), ())

    settled.settle(one.run)

    assert found() == {cls}


def test_a_class_that_is_made_inside_a_function_is_asked_about(settled):
    """It would be kept alive."""

    class Local:
        def run(self):
            return 1

    settled.declare(("run",), ())

    settled.settle(Local().run)

    assert found() == set()


def test_a_method_of_classes_is_asked_about(settled):
    """A class may have another one of that name for itself."""
    settled.declare(("run",), ())

    settled.settle(Made.run)

    assert found() == set()


def test_what_is_bound_to_a_receiver_of_another_class_settles_nothing(settled):
    settled.declare(("run",), ())

    settled.settle(types.MethodType(Base.run, Job(1)))
    settled.settle(types.MethodType(Base.run, 7))

    assert found() == set()


@pytest.mark.parametrize("stored", [("run",), None])
def test_a_name_that_some_module_stores_is_asked_about(settled, stored):
    """Whether that module comes before or after."""
    settled.declare(("run", "walk"), ())
    settled.settle(Base().run)

    settled.declare((), stored)
    assert found() == set()
    settled.settle(Base().run)

    assert found() == set()
    assert PLAIN_OWNERS <= getattr(builtins, instrument.types_of("walk"))


def test_what_is_forgotten_is_settled_anew(settled):
    settled.declare(("run",), ())
    settled.settle(Base().run)

    settled.forget()
    assert found() == set()
    settled.settle(Base().run)

    assert found() == {Base, Derived}


# --- in a session -----------------------------------------------------------------------------------------

_FETCHES = """
import ninelives

@ninelives.step
def fetch(number=0):
    return number + 100

class Client:
    def get(self, number):
        return number

def twice(client):
    return [client.get(1), client.get(2)]
"""


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        pytest.param("client.get = fetch", 2, id="an attribute"),
        pytest.param("setattr(client, 'g' + 'et', fetch)", 2, id="setattr"),
        pytest.param("client.__dict__.update(get=fetch)", 2, id="the dictionary"),
        pytest.param("vars(client)['get'] = fetch", 2, id="vars"),
        pytest.param("Client.get = staticmethod(fetch)", 2, id="the class"),
        pytest.param("exec('client.get = fetch', {'client': client, 'fetch': fetch})", 2, id="exec"),
        pytest.param("import late; late.change(client, fetch)", 2, id="a module that is imported late"),
        pytest.param("import unittest.mock; unittest.mock.patch.object(client, 'get', fetch).start()", 2, id="mock"),
        pytest.param("client = Faster()", 2, id="a derived class"),
        pytest.param("client.__class__ = Faster", 2, id="another class"),
        pytest.param("del client", 0, id="nothing of it"),
    ],
)  # fmt: skip
def test_a_step_under_the_name_of_a_method_is_a_step(harness, program, change, steps):
    """Although the method was called before, and was direct."""
    late = "def change(client, fetch):\n    client.get = fetch\n"
    source = f"""{_FETCHES}
class Faster(Client):
    get = ninelives.step(lambda self, number: number + 100, name="fast")

def main(event):
    first = client = Client()
    before = twice(client)
    {change}
    client = locals().get("client", first)
    return [*before, *twice(client)]
"""

    outcome = harness.run(program(source, files={"late.py": late}))

    assert outcome.result == [1, 2, *([101, 102] if steps else [1, 2])]
    assert len(outcome.journal.steps()) == steps


def test_a_list_of_the_projects_own_is_asked_about(harness, program):
    """Only plain values are plain: what is derived from them may do anything."""
    made = program(
        """
        import ninelives

        class Kept(list):
            @ninelives.step(name="append")
            def append(self, value):
                super().append(value)

        def main(event):
            found = []
            for values in ([], Kept()):
                values.append(1)
                found.append(len(values))
            return found
        """
    )

    outcome = harness.run(made)

    assert (outcome.result, outcome.journal.steps()) == ([1, 1], ["append"])


def test_errors_stand_where_they_stand_in_the_source(harness, program):
    """Also of a name that is not there, and of an attribute that is none."""
    made = program(
        """
        import traceback

        class Client:
            def get(self, number):
                return 1 / number

        def main(event):
            client, found = Client(), []
            def missing(): return nothing.get(1)
            def unbound():
                later.get(1)
                later = 1
            for fails in (lambda: client.get(0), lambda: client.got(1), missing, unbound):
                for _ in range(2):
                    try:
                        fails()
                    except Exception as error:
                        line = traceback.format_exception(error)[-1].strip()
                        found.append((line, traceback.extract_tb(error.__traceback__)[-1].lineno))
            return found
        """
    )

    found = harness.run(made).result

    assert found == harness.run(replace(made, is_durable=False)).result
    assert [line for line, _ in found[::2]] == [line for line, _ in found[1::2]]
