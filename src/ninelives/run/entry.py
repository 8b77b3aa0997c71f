"""Finds an entry point in a build and calls it with the event."""

import asyncio
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ninelives.errors import NinelivesError
from ninelives.event import Event
from ninelives.marks import Marked


class NoEntryPoint(NinelivesError):
    """There is no such entry point in the build."""


def find(entrypoint: str, build_dir: str) -> Any:
    """Import an entry point's module and return what it names.

    Raises:
        NoEntryPoint: It is not there; the message says what is.
    """
    file, colon, name = entrypoint.partition(":")
    if not colon or not name or not file.endswith(".py"):
        raise NoEntryPoint(f"an entry point is file.py:name, not {entrypoint!r}")
    if not (Path(build_dir) / file).is_file():
        raise NoEntryPoint(f"entry point {entrypoint}: the build has no file {file}")
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    found = getattr(module, name, None)
    if found is None or not callable(found):
        there = sorted(n for n, v in vars(module).items() if _is_own(v, module.__name__))
        raise NoEntryPoint(f"{file} has no {name} to call; it has {', '.join(there) or 'nothing'}")
    return found


def _is_own(value: object, module: str) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module


def arguments(fn: Any, session_id: str) -> dict[str, str]:
    """Return the keyword arguments of an entry point beside the event."""
    plain = fn.fn if isinstance(fn, Marked) else fn
    if not inspect.isfunction(plain):
        return {}
    try:
        parameters = inspect.signature(plain).parameters
    except (ValueError, TypeError):
        return {}
    return {"session_id": session_id} if "session_id" in parameters else {}


def call(fn: Any, event: Event, session_id: str, run: Callable[[Any], Any] = asyncio.run) -> Any:
    """Call an entry point, and run what it returns if that is a coroutine."""
    result = not_a_generator(fn(event, **arguments(fn, session_id)))
    return run(result) if inspect.iscoroutine(result) else result


def not_a_generator(result: Any) -> Any:
    """Return what an entry point returned.

    Raises:
        TypeError: It is a generator: nothing of its code has run, and nobody is there to run it.
    """
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise TypeError(
            f"entry point {result.__name__} is a generator, none of its code has run; "
            "call it from a function that uses what it yields"
        )
    return result


def explain(error: BaseException) -> None:
    """Add a note to an import error that a requirement would cure."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        top = error.name.partition(".")[0]
        if top not in sys.stdlib_module_names:
            error.add_note(
                f"if {top} is a package from PyPI, add it to requirements.txt and deploy again; its name "
                "there may be another than that of the module"
            )
