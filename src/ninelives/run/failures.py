"""Exceptions that survive their process: recorded in parts, and made again where the call stands.

Pickle alone is not enough: many exceptions pickle and cannot be unpickled, because their `__init__` wants
other arguments than `args` holds. Whatever happens, the class and the message are kept, so that the user's
`except` finds them.
"""

import importlib
import pickle
from collections.abc import Callable
from typing import Any

from ninelives.errors import NinelivesError
from ninelives.run import reducers, tracebacks

#: Causes of causes are kept to this depth.
_DEPTH = 5

Document = dict[str, Any]


def describe(error: BaseException, is_user: Callable[[str], bool], depth: int = _DEPTH) -> Document:
    """Return what is recorded of an exception: plain data and pickles, never the object."""
    cls = _importable(type(error))
    cause, context = error.__cause__, error.__context__
    context = None if context is cause else context
    return {
        "module": cls.__module__,
        "class": cls.__qualname__,
        "name": type(error).__qualname__,
        "text": _text(error),
        "members": _members(error, is_user, depth),
        "pickle": _whole(error) if cls is type(error) and not _is_group(error) else None,
        "args": [_part(value) for value in error.args],
        "fields": {key: _part(value) for key, value in _fields(error).items()},
        "frames": [list(frame) for frame in tracebacks.frames_of(error, is_user)],
        "cause": describe(cause, is_user, depth - 1) if cause is not None and depth else None,
        "context": describe(context, is_user, depth - 1) if context is not None and depth else None,
        "suppress": error.__suppress_context__,
    }


def rebuild(document: Document) -> BaseException:
    """Make the exception again."""
    error = _best(document)
    if document["cause"] is not None:
        error.__cause__ = error.__context__ = rebuild(document["cause"])
    if document["context"] is not None:
        error.__context__ = rebuild(document["context"])
    error.__suppress_context__ = document["suppress"]
    return error.with_traceback(tracebacks.synthesize([tuple(frame) for frame in document["frames"]]))


def _is_group(error: BaseException) -> bool:
    return isinstance(error, BaseExceptionGroup)


def _members(error: BaseException, is_user: Callable[[str], bool], depth: int) -> list[Document] | None:
    """Return what is recorded of the exceptions in a group, each with causes and notes of its own."""
    if not isinstance(error, BaseExceptionGroup):
        return None
    return [describe(member, is_user, depth - 1) for member in error.exceptions] if depth else []


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""


def _fields(error: BaseException) -> dict[str, Any]:
    fields = getattr(error, "__dict__", {})
    return {k: v for k, v in fields.items() if k != tracebacks.SEQ}


def _importable(cls: type[BaseException]) -> type[BaseException]:
    """Return the nearest class, this one or a base, that another process finds by its name."""
    bases = (base for base in cls.__mro__ if issubclass(base, BaseException))
    return next((b for b in bases if b is _find(b.__module__, b.__qualname__)), Exception)


def _find(module: str, qualname: str) -> Any:
    try:
        found: Any = importlib.import_module(module)
        for name in qualname.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError):
        return None
    return found


def _whole(error: BaseException) -> bytes | None:
    """Return the pickle of an exception, if it comes back as the same."""
    try:
        data = reducers.dumps_of_error(error)
        again = pickle.loads(data)
    except Exception:
        return None
    is_same = type(again) is type(error) and _text(again) == _text(error)
    return data if is_same else None


def _part(value: object) -> tuple[bool, Any]:
    """Return a value as a pickle, or as what it looks like."""
    try:
        data = reducers.dumps_of_error(value)
        pickle.loads(data)
    except Exception:
        return False, _look(value)
    return True, data


def _look(value: object) -> str | None:
    try:
        return repr(value)[:1000]
    except Exception:
        return None


def _value(part: tuple[bool, Any]) -> Any:
    is_pickle, data = part
    return pickle.loads(data) if is_pickle else data


def _best(document: Document) -> BaseException:
    if document["pickle"] is not None:
        try:
            error = pickle.loads(document["pickle"])
            assert isinstance(error, BaseException)
        except Exception:
            return _from_parts(document)
        return error
    return _from_parts(document)


def _from_parts(document: Document) -> BaseException:
    cls = _find(document["module"], document["class"])
    try:
        args = tuple(_value(part) for part in document["args"])
        if members := document.get("members"):
            args = (args[0], [rebuild(member) for member in members])
        error = cls.__new__(cls, *args)
        error.args = args
        for name, part in document["fields"].items():
            tracebacks.note(error, name, _value(part))
        if not _text(error):
            error.args = (document["text"],)
    except Exception:
        return NinelivesError(f"{document['name']}: {document['text']}")
    assert isinstance(error, BaseException)
    return error
