"""How values pickle that Python does not pickle, though they are nothing but data.

Rows of a database, and answers of the standard library's HTTP client whose body is small and of known length:
the body is read when the answer is recorded, and is in memory from then on. Workbooks of openpyxl, as files.
Answers of requests, without the hooks and the open file that their request was sent with. Views of
dictionaries and headers. Modules by their name, sentinels by their place (`sentinels`).
The other way round, answers whose body somebody wants to stream do not pickle here, though they say they do.
"""

import http.client
import importlib
import io
import pickle
import socket
import sqlite3
import sys
import types
import urllib.error
from array import array
from typing import Any, Final

from ninelives.run import digest, memory, sentinels

_NO_TIMEOUT: Any = socket._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]

#: Answers with a longer body, or one of unknown length, are live. bytes
_LONGEST_BODY = 1_000_000
#: What an answer keeps of itself, beside its body.
_ANSWER = ("code", "headers", "msg", "reason", "status", "url", "version", "will_close")


def override(_pickler: object, value: Any) -> Any:
    """Return how a value is made again, or `NotImplemented` (`pickle.Pickler.reducer_override`)."""
    cls = type(value)
    if value is _NO_TIMEOUT:
        return _no_timeout, ()
    if cls not in _by_class:
        _by_class[cls] = _reducer(cls)
    if (reduce := _by_class[cls]) is not None:
        return reduce(value)
    place = sentinels.place_of(value)
    return NotImplemented if place is None else (sentinels.at, (*place, cls))


def _of_lost(_value: Any) -> Any:
    raise pickle.PicklingError("what stands for a lost value is recorded as a reference")


def _reducer(cls: type) -> Any:
    if digest.STANDS_FOR in cls.__dict__:
        return _of_lost
    found = _OF_CLASSES.get(cls) or _OF_NAMES.get((cls.__module__, cls.__name__))
    return _of_partial if found is None and _is_partial(cls) else found


def state_of(value: Any) -> Any:
    """Return the state of an object with that of its class's own beside what `requests` keeps of its base."""
    if isinstance(value, array):
        return value.tobytes()
    if memory.is_database(value):
        return memory.content(value)
    state = value.__getstate__()
    if state is None and type(value).__module__ == "numpy":
        state = value.__reduce__()[2]  # its state is known there alone
    return {**state, **_beside(value)} if _is_partial(type(value)) else state


def _no_timeout() -> Any:
    """Return what says that no time-out was given: libraries ask whether it is this very object."""
    return _NO_TIMEOUT


# --- databases and the standard library's HTTP client -----------------------------------------------------


def _of_row(value: sqlite3.Row) -> Any:
    return _row, (tuple(value.keys()), tuple(value))


def _of_answer(value: http.client.HTTPResponse) -> Any:
    body = _body(value)
    kept = {name: getattr(value, name) for name in _ANSWER if hasattr(value, name)}
    return NotImplemented if body is None else (_answer, (body, kept))


def _of_refusal(value: urllib.error.HTTPError) -> Any:
    body = _body(value.fp)
    return (
        NotImplemented if body is None else (_refusal, (value.url, value.code, value.msg, value.hdrs, body))
    )


# --- views ------------------------------------------------------------------------------------------------


def _keys(keys: list[Any]) -> Any:
    return dict.fromkeys(keys).keys()


def _values(values: list[Any]) -> Any:
    return dict(enumerate(values)).values()


def _items(found: dict[Any, Any]) -> Any:
    return found.items()


def _of_module(module: types.ModuleType) -> Any:
    """Return how a module pickles: by its name, where the others find it by that."""
    name = module.__name__
    return (importlib.import_module, (name,)) if sys.modules.get(name) is module else NotImplemented


def _proxy(found: dict[Any, Any]) -> Any:
    return types.MappingProxyType(found)


# --- requests and httpx -----------------------------------------------------------------------------------


def _of_requests(answer: Any) -> Any:
    """Return how an answer of requests pickles: with what was sent, and nothing to send it again with."""
    if answer._content is False and not answer._content_consumed:
        raise _unread()
    sent = _sent(getattr(answer, "request", None))
    if sent is None:
        return NotImplemented
    return _again, (type(answer),), {**answer.__getstate__(), "request": sent}


def _unread() -> pickle.PicklingError:
    """Return the error for an answer that somebody wants to stream: its copy would have no stream."""
    return pickle.PicklingError("an answer whose body is still to be read is live")


def _sent(request: Any) -> Any:
    """Return a request of requests without hooks and open files; `None` where it pickles as it is.

    A hook is often a function that does not pickle: `json()`, headers and status would be lost with it.
    """
    if type(request).__module__ != "requests.models":
        return None
    is_data = isinstance(request.body, str | bytes | None)
    if is_data and (not any(request.hooks.values()) or _can_pickle(request.hooks)):
        return None
    found = request.copy()
    found.hooks, found.body = {}, request.body if is_data else None
    return found


def _again(cls: Any) -> Any:
    return cls.__new__(cls)


def _can_pickle(value: object) -> bool:
    try:
        dumps(value)
    except Exception:
        return False
    return True


def _has_length(headers: Any) -> bool:
    length = headers.get("Content-Length", "")
    return length.isdecimal() and int(length) <= _LONGEST_BODY


#: What adapters have and make again.
_POOLS: Final = frozenset({"poolmanager", "proxy_manager"})


def _is_partial(cls: Any) -> bool:
    """Tell whether objects pickle with the attributes of a base of requests alone, and not with their own."""
    place = getattr(getattr(cls, "__getstate__", None), "__module__", None)
    return place in {"requests.sessions", "requests.adapters"}


def _beside(value: Any) -> dict[str, Any]:
    return {k: v for k, v in vars(value).items() if k not in type(value).__attrs__ and k not in _POOLS}


def _of_partial(value: Any) -> Any:
    """Return how a session or an adapter of a class of its own pickles, as clients have them."""
    return (_again, (type(value),), state_of(value)) if _beside(value) else NotImplemented


def _of_httpx(answer: Any) -> Any:
    if not hasattr(answer, "_content"):
        raise _unread()
    return NotImplemented


def _of_request(value: Any) -> Any:
    if not hasattr(value, "_content"):
        return NotImplemented
    return _request, (type(value), value.method, str(value.url), list(value.headers.raw), value._content)


def _request(cls: Any, method: str, url: str, headers: list[tuple[bytes, bytes]], content: bytes) -> Any:
    """Make a request of httpx again, with its body: its own pickle cannot be sent."""
    return cls(method, url, headers=headers, content=content)


# --- making again -----------------------------------------------------------------------------------------


def _row(names: tuple[str, ...], values: tuple[Any, ...]) -> sqlite3.Row:
    """Make a row of a database again; a row has names only from a cursor that has columns of these names."""
    base = sqlite3.connect(":memory:")
    try:
        columns = ", ".join('null as "{}"'.format(name.replace('"', '""')) for name in names)
        return sqlite3.Row(base.execute(f"select {columns}"), values)
    finally:
        base.close()


def _body(answer: Any) -> bytes | None:
    """Return what is left of an answer's body; it is in memory then. `None`: it is too long to tell."""
    if isinstance(answer, io.BytesIO):
        return answer.getvalue()[answer.tell() :]
    if not isinstance(answer, http.client.HTTPResponse):
        return None
    if isinstance(answer.fp, io.BytesIO) or answer.fp is None:
        return b"" if answer.fp is None else _body(answer.fp)
    if answer.length is None or answer.length > _LONGEST_BODY:
        return None
    body = answer.read()
    _put(answer, body)
    # Its connection may send the next request: it waits for no more of this answer.
    answer.isclosed = lambda: True  # type: ignore[method-assign]
    return body


def _put(answer: http.client.HTTPResponse, body: bytes) -> None:
    answer.fp = io.BytesIO(body)  # type: ignore[assignment]
    answer.length = len(body)
    answer.chunked = False


def _answer(body: bytes, kept: dict[str, Any]) -> http.client.HTTPResponse:
    made = http.client.HTTPResponse.__new__(http.client.HTTPResponse)
    for name, value in kept.items():
        setattr(made, name, value)
    made.debuglevel, made._method = 0, None  # type: ignore[attr-defined]
    _put(made, body)
    return made


def _of_workbook(value: Any) -> Any:
    file = io.BytesIO()
    value.save(file)
    return _workbook, (file.getvalue(),)


def _workbook(data: bytes) -> Any:
    from openpyxl import load_workbook  # type: ignore[import-untyped,import-not-found,unused-ignore]

    return load_workbook(io.BytesIO(data))


def _refusal(url: str, code: int, msg: str, headers: Any, body: bytes) -> urllib.error.HTTPError:
    return urllib.error.HTTPError(url, code, msg, headers, io.BytesIO(body))


def _of_headers(proxy: Any) -> Any:
    """Return how headers of aiohttp pickle: over a copy of what they show."""
    return type(proxy), (proxy.copy(),)


#: How values pickle, by their class; views of dictionaries as those of a copy.
_OF_CLASSES: Final[dict[type, Any]] = {
    sqlite3.Row: _of_row,
    http.client.HTTPResponse: _of_answer,
    urllib.error.HTTPError: _of_refusal,
    type({}.keys()): lambda view: (_keys, (list(view),)),
    type({}.values()): lambda view: (_values, (list(view),)),
    type({}.items()): lambda view: (_items, (dict(view),)),
    types.MappingProxyType: lambda view: (_proxy, (dict(view),)),
    types.ModuleType: _of_module,
}
#: The same by module and name, of libraries that a project may not have.
_OF_NAMES: Final[dict[tuple[str, str], Any]] = {
    ("requests.models", "Response"): _of_requests,
    ("httpx", "Response"): _of_httpx,
    ("httpx", "Request"): _of_request,
    ("httpx2", "Response"): _of_httpx,
    ("httpx2", "Request"): _of_request,
    ("multidict._multidict", "CIMultiDictProxy"): _of_headers,
    ("multidict._multidict", "MultiDictProxy"): _of_headers,
    ("multidict._multidict_py", "CIMultiDictProxy"): _of_headers,
    ("multidict._multidict_py", "MultiDictProxy"): _of_headers,
    ("openpyxl.workbook.workbook", "Workbook"): _of_workbook,
}


#: What was found for a class.
_by_class: dict[type, Any] = {}


class _Pickler(pickle.Pickler):
    reducer_override = override


class _PicklerOfErrors(pickle.Pickler):
    """Writes what hangs on an error: requests that were sent, and answers whose body nobody has read yet."""

    def reducer_override(self, value: Any) -> Any:
        cls = type(value)
        if cls.__module__ == "requests.models":
            if cls.__name__ == "PreparedRequest" and (sent := _sent(value)) is not None:
                return _again, (cls,), vars(sent)
            if cls.__name__ == "Response" and value.status_code >= 400 and _has_length(value.headers):
                value.content  # noqa: B018 - reads it: a hook may have raised before requests did
        return override(self, value)


def dumps_of_error(value: Any) -> bytes:
    """Return the pickle of an error, or of a part of one."""
    file = io.BytesIO()
    _PicklerOfErrors(file, 5).dump(value)
    return file.getvalue()


def dumps(value: Any) -> bytes:
    """Return the pickle of a value."""
    file = io.BytesIO()
    _Pickler(file, 5).dump(value)
    return file.getvalue()
