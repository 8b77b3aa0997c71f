"""Types whose methods rewritten code calls as they are, without asking about each call.

    x.f(a)  ->  x.f(a) if type(x) in TYPES_OF_f else METHOD(x.f)(a)

Of plain values that is so from the beginning: nobody can change what their methods are. A class of the
project is added when one of its methods was found to be direct (`calls`), and only where an object's `f` is
its class's for good: no module of the project stores an attribute of that name, or one whose name cannot be
read from the source, and no library's class is among the bases. See
docs/decisions/0010-methods-by-the-receivers-type.md.
"""

import builtins
import inspect
import types
from collections.abc import Callable, Iterable, Iterator

from ninelives.run import instrument

#: Methods of these are direct, but for those that are given callables, iterables or files.
PLAIN_OWNERS = frozenset({str, list, dict, tuple, set, frozenset, bytes, bytearray, int, float})
#: Bases from here keep no attributes of their objects that a project's method could be hidden by.
_HARMLESS_MODULES = frozenset({"abc", "builtins", "enum", "typing"})


class Settled:
    """The sets that rewritten code looks into, one for each name of a method."""

    def __init__(self, is_user_class: Callable[[type], bool]) -> None:
        self._is_user_class = is_user_class
        self._types: dict[str, set[type]] = {}
        self._stored: set[str] = set()
        self._is_open = False

    def declare(self, called: Iterable[str], stored: Iterable[str] | None) -> None:
        """Take in a module of the project; it says so itself, before anything else in it runs.

        Args:
            called: Names of methods that it looks for in our sets.
            stored: Names of attributes that it stores or deletes; `None`: any.
        """
        for name in called:
            if name not in self._types:
                found = self._types[name] = set[type]()
                self._empty(name)
                setattr(builtins, instrument.types_of(name), found)
        if stored is None:
            self._is_open = True
            self.forget()
        else:
            self._stored.update(stored)
            for name in self._types.keys() & stored:
                self._empty(name)

    def settle(self, method: types.MethodType) -> None:
        """Note that a method of the project is direct, whatever its receiver."""
        function, cls = method.__func__, type(method.__self__)
        name = function.__name__
        found = self._types.get(name)
        if found is None or self._is_open or name in self._stored:
            return
        owner = next((kind for kind in cls.__mro__ if name in kind.__dict__), None)
        if owner is not None:
            found.update(kind for kind in _family(owner) if self._is_settled(kind, name, function))

    def forget(self) -> None:
        """Ask about everything but plain values again."""
        for name in self._types:
            self._empty(name)

    def _empty(self, name: str) -> None:
        """Leave plain values only; who looks meanwhile may find less, never more."""
        found = self._types[name]
        found.intersection_update(PLAIN_OWNERS)
        if name not in instrument.GIVEN:
            found.update(PLAIN_OWNERS)

    def _is_settled(self, cls: type, name: str, function: object) -> bool:
        """Tell whether an object of a class has nothing but this function under a name."""
        holder = next((kind for kind in cls.__mro__ if name in kind.__dict__), None)
        if holder is None or holder.__dict__[name] is not function or "<locals>" in cls.__qualname__:
            return False
        if issubclass(cls, type):
            return False  # its objects are classes, and have methods of their own
        return all(
            self._is_harmless(kind) and name not in inspect.get_annotations(kind) for kind in cls.__mro__
        )

    def _is_harmless(self, cls: type) -> bool:
        if cls.__module__ in _HARMLESS_MODULES:
            return True
        return self._is_user_class(cls) and "__getattribute__" not in cls.__dict__


def _family(cls: type) -> Iterator[type]:
    """Yield a class and all that are derived from it."""
    yield cls
    derived: type
    for derived in type.__subclasses__(cls):
        yield from _family(derived)
