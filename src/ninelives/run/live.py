"""What stands for values that could not be recorded and were lost with their process.

On replay a step that returned one gives a `Placeholder`. It answers for the attributes that were recorded;
nothing is made again until a call that the journal cannot answer needs it: then a *handle* is made by the
same call, a *file* is opened again where it stood, and anything else is `LiveValueLost`.
"""

import copy
import functools
import importlib
import inspect
import operator
import types
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ninelives.errors import LiveValueLost
from ninelives.run.digest import STANDS_FOR
from ninelives.run.lost import Lost, lost_of


class Placeholder:
    """Stands for a lost live value; looks like it as far as that needs nothing made."""

    __slots__ = ("__weakref__", "_ninelives_lost")

    def __init__(self, lost: Lost) -> None:
        object.__setattr__(self, "_ninelives_lost", lost)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """The class of what it stands for, so that `isinstance` says what it said before."""
        return _class(lost_of(self)) or Placeholder

    def __getattr__(self, name: str) -> Any:
        lost = lost_of(self)
        if lost.made:
            return getattr(lost.made[0], name)
        if lost.has(name):
            return lost.field(name)
        if name in lost.about.get("parts", ()) and lost.has_fresh(name):
            return lost.field(name)
        if name in lost.about.get("parts", ()):
            return standing_for(lost.part(name, lost.about["parts"][name]))
        return _of_the_class(self, lost, name)

    def __setattr__(self, name: str, value: object) -> None:
        lost = lost_of(self)
        if lost.made:
            setattr(lost.made[0], name, value)
        else:
            lost.set[name] = value

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> Any:
        lost = lost_of(self)
        if not lost.made and lost.about.get("writes") and not any(error):
            lost.real()  # what it still had to write is lost, and nobody would say so
        if lost.made:
            return lost.made[0].__exit__(*error)
        return lost.was_left()

    def __iter__(self) -> Any:
        return iter(lost_of(self).for_a_loop())

    def __next__(self) -> Any:
        return next(lost_of(self).real())

    def __getitem__(self, key: object) -> Any:
        return lost_of(self).real()[key]

    def __setitem__(self, key: object, value: object) -> None:
        lost_of(self).real()[key] = value

    def __delitem__(self, key: object) -> None:
        del lost_of(self).real()[key]

    def __contains__(self, item: object) -> bool:
        return item in lost_of(self).real()

    def __len__(self) -> int:
        return len(lost_of(self).real())

    def __bool__(self) -> bool:
        lost = lost_of(self)
        return bool(lost.made[0]) if lost.made else True

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call what it stands for."""
        return lost_of(self).real()(*args, **kwargs)

    def __repr__(self) -> str:
        return str(lost_of(self).about["repr"])

    def __str__(self) -> str:
        lost = lost_of(self)
        is_plain = getattr(_class(lost), "__str__", object.__str__) is object.__str__
        return str(lost.made[0]) if lost.made else repr(self) if is_plain else str(lost.real())

    def __format__(self, spec: str) -> str:
        is_plain = getattr(_class(lost_of(self)), "__format__", object.__format__) is object.__format__
        return format(str(self), spec) if is_plain else format(lost_of(self).real(), spec)

    def __eq__(self, other: object) -> Any:
        lost = lost_of(self)
        if self is other:
            return True
        if not lost.made and getattr(_class(lost), "__eq__", object.__eq__) is object.__eq__:
            return NotImplemented  # another object
        return lost.real() == other

    def __hash__(self) -> int:
        is_plain = getattr(_class(lost_of(self)), "__hash__", object.__hash__) is object.__hash__
        return object.__hash__(self) if is_plain else hash(lost_of(self).real())

    def __copy__(self) -> Any:
        return copy.copy(lost_of(self).real())

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(lost_of(self).real(), memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle it for user code; what records hold is a reference (`reducers`)."""
        return lost_of(self).real().__reduce_ex__(protocol)

    __ninelives_stands_for__ = staticmethod(lambda value: lost_of(value).about["type"])


assert STANDS_FOR in Placeholder.__dict__


def _of_the_class(placeholder: Placeholder, lost: Lost, name: str) -> Any:
    """Return an attribute that the value has from its class: a method, a property, a constant."""
    cls = _class(lost)
    if cls is None:
        return Method(placeholder, name)
    if lost.about["type"] == "tempfile._TemporaryFileWrapper" and name not in cls.__dict__:
        return _of_the_file(lost, name)
    found = inspect.getattr_static(cls, name, None)
    if isinstance(found, property) and found.fget is not None:
        with suppress(AttributeError):
            return found.fget(placeholder)
    elif isinstance(found, staticmethod | classmethod | str | int | float | bool | tuple):
        return getattr(cls, name)
    elif callable(found):
        return Method(placeholder, name, found)
    elif found is None and lost.about["what"] in {"iterator", "other"}:
        # The class looks it up in a part, as the pipe in what `os.popen` returns.
        looks_up = inspect.getattr_static(cls, "__getattr__", None)
        with suppress(AttributeError, LiveValueLost):
            if isinstance(looks_up, types.FunctionType):
                return looks_up(placeholder, name)
    return getattr(lost.real(), name)


def _of_the_file(lost: Lost, name: str) -> Any:
    """Return a method of the file in a temporary one, in a function around it as `tempfile` has it."""
    inner = _class(Lost(lost.about["parts"]["file"], lost.step, lost.seq, None))
    function = getattr(inner, name, None)
    if inner is None or not callable(function):
        return getattr(lost.real(), name)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(lost.real(), name)(*args, **kwargs)

    call.__qualname__ = f"{inner.__qualname__}.{name}"
    call.__module__ = None  # type: ignore[assignment]  # as that of a method written in C
    return call


def _form(method: "Method") -> Any:
    """Return what a method counts as in digests: itself, as one of its class; a lost attribute is needed."""
    function = method.ninelives_function
    if function is None:
        return type(real_of(method)).__name__
    return bound(method) if isinstance(function, types.FunctionType) else "method"


class Method:
    """A method of a lost live value: a call of it is a step like any other.

    Where the value's class is not known any more, it may be an attribute that could not be recorded instead.
    """

    __slots__ = ("_ninelives_name", "_ninelives_owner", "ninelives_call", "ninelives_function")

    def __init__(self, owner: Placeholder, name: str, function: Any = None) -> None:
        self._ninelives_owner = owner
        self._ninelives_name = name
        self.ninelives_function = function
        #: Called instead, where this was handed to something that may loop over it as well.
        self.ninelives_call: Callable[..., Any] | None = None

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """That of the value: what is no method must not be taken for one."""
        return Method if self.ninelives_function is not None else type(real_of(self))

    @property
    def __self__(self) -> Placeholder:
        """The receiver, as methods have it."""
        return self._ninelives_owner

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it, having made the value again."""
        lost = lost_of(self._ninelives_owner)
        if self.ninelives_call is not None:
            return self.ninelives_call(*args, **kwargs)
        if self._ninelives_name == "close" and lost.has_ended:
            return lost.was_left()
        return real_of(self)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # of all that there is; such are asked for by libraries, and by us
        return getattr(real_of(self), name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in Method.__slots__:
            object.__setattr__(self, name, value)
        else:
            setattr(real_of(self), name, value)

    # What is no method after all: an attribute that could not be recorded.

    def __iter__(self) -> Any:
        return iter(real_of(self))

    def __next__(self) -> Any:
        return next(real_of(self))

    def __getitem__(self, key: Any) -> Any:
        return real_of(self)[key]

    def __setitem__(self, key: object, value: object) -> None:
        real_of(self)[key] = value

    def __delitem__(self, key: object) -> None:
        del real_of(self)[key]

    def __contains__(self, item: Any) -> bool:
        return item in real_of(self)

    def __len__(self) -> int:
        return len(real_of(self))

    def __bool__(self) -> bool:
        return True if self.ninelives_function is not None else bool(real_of(self))

    def __str__(self) -> str:
        return str(real_of(self)) if self.ninelives_function is None else repr(self)

    def __repr__(self) -> str:
        return object.__repr__(self) if self.ninelives_function is not None else repr(real_of(self))

    def __eq__(self, other: object) -> Any:
        if type(other) is Method and self.ninelives_function is not None:
            return self.__self__ is other.__self__ and self._ninelives_name == other._ninelives_name
        return NotImplemented if self.ninelives_function is not None else real_of(self) == other

    def __hash__(self) -> int:
        if self.ninelives_function is None:
            return hash(real_of(self))
        return hash((id(self.__self__), self._ninelives_name))

    def ninelives_again(self) -> "Method":
        """Return another one for the same attribute."""
        return Method(self._ninelives_owner, self._ninelives_name, self.ninelives_function)

    __ninelives_stands_for__ = staticmethod(_form)


def is_async(method: Method) -> bool:
    """Tell whether what a call of a method returns is awaited."""
    return inspect.iscoroutinefunction(method.ninelives_function)


def step_name(method: Method) -> str:
    """Return the name under which the step of a call is recorded."""
    lost = lost_of(method.__self__)
    return f"{lost.about['name']}.{getattr(method.ninelives_function, '__name__', method._ninelives_name)}"


def bound(method: Method) -> Any:
    """Return a method as one of the class, bound to what stands for its receiver."""
    return types.MethodType(method.ninelives_function, method.__self__)


def real_of(value: "Placeholder | Method") -> Any:
    """Return what was lost, which is made again.

    Raises:
        LiveValueLost: It cannot be.
    """
    if type(value) is Method:
        return getattr(lost_of(value._ninelives_owner).real(), value._ninelives_name)
    return lost_of(value).real()


_BINARY = "add and divmod floordiv lshift matmul mod mul or pow rshift sub truediv xor"
_COMPARED = "ge gt le lt"
_UNARY = "abs index invert neg pos"
_CONVERTED = (complex, float, int, round, reversed)


def _install_operators() -> None:
    """Have operators ask what was lost, as Python asks its class and not our `__getattr__`."""

    def forward(name: str, act: Callable[..., Any]) -> None:
        def operate(value: Any, *others: Any) -> Any:
            return act(real_of(value), *others)

        for cls in (Placeholder, Method):
            setattr(cls, f"__{name}__", operate)

    for name in (*_BINARY.split(), *_COMPARED.split(), *_UNARY.split()):
        act = divmod if name == "divmod" else getattr(operator, f"__{name}__")
        forward(name, act)
    for name in _BINARY.split():
        act = divmod if name == "divmod" else getattr(operator, f"__{name}__")
        forward(f"r{name}", lambda real, other, act=act: act(other, real))
        if name != "divmod":
            forward(f"i{name}", getattr(operator, f"__i{name}__"))
    for made in _CONVERTED:
        forward(made.__name__, made)


_install_operators()


def enter_again(args: Sequence[Any]) -> None:
    """Have a lost context entered, as it was, before it is left.

    Raises:
        LiveValueLost: What entering it gave cannot be made again.
    """
    if args and is_placeholder(args[0]):
        lost = lost_of(args[0])
        if lost.entered is not None and not lost.made:
            lost.entered.real()


def standing_for(lost: Lost) -> Placeholder:
    """Return what stands for a lost value; the same one each time."""
    found = lost.stands() if lost.stands is not None else None
    if found is None:
        found = Placeholder(lost)
        lost.stands = weakref.ref(found)
    return found


def _class(lost: Lost) -> type | None:
    found: Any = None
    with suppress(ImportError, AttributeError):
        found = importlib.import_module(lost.about["module"])
        for name in lost.about["qualname"].split("."):
            found = getattr(found, name)
    return found if isinstance(found, type) else None


def is_placeholder(value: object) -> bool:
    """Tell whether a value stands for a lost one."""
    return type(value) is Placeholder


def for_a_loop(value: Any) -> Any:
    """Return what a loop goes over, made again if it was lost."""
    return lost_of(value).for_a_loop() if is_placeholder(value) else value


def resolve(value: Any) -> Any:
    """Return what a value stands for, looking into plain containers one level deep."""
    if is_placeholder(value):
        lost = lost_of(value)
        # What a loop goes over is made by the loop, from its beginning.
        return value if lost.about["what"] == "iterator" and not lost.made else lost.real()
    if type(value) in {list, tuple} and any(map(is_placeholder, value)):
        return type(value)(resolve(item) for item in value)
    if type(value) is dict and any(map(is_placeholder, value.values())):
        return {key: resolve(item) for key, item in value.items()}
    return value
