"""How values pickle that Python does not pickle, though they are nothing but data.

Rows of a database, and answers of the standard library's HTTP client whose body is small and of known length:
the body is read when the answer is recorded, and is in memory from then on. Workbooks of openpyxl, as files.
The other way round, answers whose body somebody wants to stream do not pickle here, though they say they do.
"""

import http.client
import io
import pickle
import socket
import sqlite3
import urllib.error
from typing import Any

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
    if cls is sqlite3.Row:
        return _row, (tuple(value.keys()), tuple(value))
    if cls is http.client.HTTPResponse:
        body = _body(value)
        kept = {name: getattr(value, name) for name in _ANSWER if hasattr(value, name)}
        return NotImplemented if body is None else (_answer, (body, kept))
    if cls is urllib.error.HTTPError:
        body = _body(value.fp)
        return (
            NotImplemented
            if body is None
            else (_refusal, (value.url, value.code, value.msg, value.hdrs, body))
        )
    if cls.__name__ == "Workbook" and cls.__module__ == "openpyxl.workbook.workbook":
        file = io.BytesIO()
        value.save(file)
        return _workbook, (file.getvalue(),)
    if cls.__name__ == "Request" and _is_httpx(cls) and hasattr(value, "_content"):
        return _request, (cls, value.method, str(value.url), list(value.headers.raw), value._content)
    if cls.__name__ == "Response" and _is_unread(cls, value):
        raise pickle.PicklingError("an answer whose body is still to be read is live")
    return NotImplemented


def _no_timeout() -> Any:
    """Return what says that no time-out was given: libraries ask whether it is this very object."""
    return _NO_TIMEOUT


def _is_httpx(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in {"httpx", "httpx2"}


def _request(cls: Any, method: str, url: str, headers: list[tuple[bytes, bytes]], content: bytes) -> Any:
    """Make a request of httpx again, with its body: its own pickle cannot be sent."""
    return cls(method, url, headers=headers, content=content)


def _is_unread(cls: type, answer: Any) -> bool:
    """Tell whether somebody asked for a stream, and its copy would have none."""
    if cls.__module__ == "requests.models":
        return answer._content is False and not answer._content_consumed
    return _is_httpx(cls) and not hasattr(answer, "_content")


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


def _workbook(data: bytes) -> Any:
    from openpyxl import load_workbook  # type: ignore[import-untyped,import-not-found,unused-ignore]

    return load_workbook(io.BytesIO(data))


def _refusal(url: str, code: int, msg: str, headers: Any, body: bytes) -> urllib.error.HTTPError:
    return urllib.error.HTTPError(url, code, msg, headers, io.BytesIO(body))


class _Pickler(pickle.Pickler):
    reducer_override = override


def dumps(value: Any) -> bytes:
    """Return the pickle of a value."""
    file = io.BytesIO()
    _Pickler(file, 5).dump(value)
    return file.getvalue()
