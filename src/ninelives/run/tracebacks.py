"""What people see of an error: the lines of their own code, with paths as in their project."""

import linecache
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, FunctionType, TracebackType
from typing import Any, TypeAlias

#: File, line, function, source line.
Frame: TypeAlias = tuple[str, int, str, str]

#: Where an exception carries the `seq` of the step that raised it.
SEQ = "__ninelives_seq__"

_GROUP = "Exception Group Traceback"
#: Of a group no more exceptions are shown; as in `traceback`.
_WIDEST = 15
_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


def frames_of(error: BaseException, is_user: Callable[[str], bool]) -> list[Frame]:
    """Return the user's frames of an exception, outermost first."""
    return [frame for frame in _frames(error.__traceback__) if is_user(frame[0])]


def synthesize(frames: Iterable[Frame]) -> TracebackType | None:
    """Return a traceback of frames that ran in a step, perhaps in another process.

    A frame object cannot be made; one of a function that only bears the name and file can.
    """
    made: TracebackType | None = None
    for file, line, name, _ in reversed(list(frames)):
        code = _stub.__code__.replace(co_filename=file, co_name=name, co_qualname=name, co_firstlineno=line)
        frame = FunctionType(code, {"__name__": "ninelives.step", "sys": sys})()
        made = TracebackType(made, frame, frame.f_lasti, line)
    return made


def _stub() -> FrameType:
    return sys._getframe()


def _frames(tb: TracebackType | None) -> Iterator[Frame]:
    while tb is not None:
        code = tb.tb_frame.f_code
        line = linecache.getline(code.co_filename, tb.tb_lineno, tb.tb_frame.f_globals).strip()
        yield code.co_filename, tb.tb_lineno, code.co_name, line
        tb = tb.tb_next


def note(error: BaseException, name: str, value: object) -> None:
    """Attach something to an exception; one that takes no attributes goes without."""
    try:
        setattr(error, name, value)
    except Exception:
        return


class Formatter:
    """Formats errors of one project."""

    def __init__(self, build_dir: str, is_user: Callable[[str], bool]) -> None:
        self._root = build_dir.rstrip("/") + "/"
        self._is_user = is_user

    def format(self, error: BaseException) -> str:
        """Return the traceback as Python prints it, without frames that are not the user's."""
        return "".join(self._parts(error, set())).replace(self._root, "").rstrip("\n")

    def message(self, error: BaseException) -> str:
        """Return the message of an exception, notes included."""
        try:
            text = str(error)
        except Exception:
            text = "its message cannot be shown"
        notes = [str(line) for line in getattr(error, "__notes__", ())]
        return "\n".join(part for part in (text, *notes) if part).replace(self._root, "")

    def _parts(self, error: BaseException, seen: set[int]) -> Iterator[str]:
        seen.add(id(error))
        before, words = error.__cause__, _CAUSE
        if before is None and not error.__suppress_context__:
            before, words = error.__context__, _CONTEXT
        if before is not None and id(before) not in seen:
            yield from self._parts(before, seen)
            yield words
        if isinstance(error, BaseExceptionGroup):
            yield from self._group(error, seen)
        else:
            yield from self._own(error, "Traceback")

    def _own(self, error: BaseException, title: str) -> Iterator[str]:
        frames = frames_of(error, self._is_user) or self._all_frames(error)
        if frames:
            yield f"{title} (most recent call last):\n"
            for file, line, name, text in frames:
                yield f'  File "{file}", line {line}, in {name}\n'
                if text:
                    yield f"    {text}\n"
        yield from _last_lines(error)

    def _group(self, error: BaseExceptionGroup[Any], seen: set[int]) -> Iterator[str]:
        """Return a group and what is in it, drawn as Python draws it."""
        for line in _lines(self._own(error, _GROUP)):
            yield f"  {'+' if line.startswith(_GROUP) else '|'} {line}"
        count, last = len(error.exceptions), error
        for number, last in enumerate(error.exceptions[:_WIDEST], 1):
            yield f"  {'+-+' if number == 1 else '  +'}---------------- {number} ----------------\n"
            # A group has an edge of its own, with a corner only where nothing is around it.
            edge = "  " if isinstance(last, BaseExceptionGroup) else "    | "
            for line in _lines(self._parts(last, seen)):
                yield edge + (f"  |{line[3:]}" if line.startswith(f"  + {_GROUP}") else line)
        if count > _WIDEST:
            yield f"    +---------------- ... ----------------\n    | and {count - _WIDEST} more exceptions\n"
        if count > _WIDEST or not isinstance(last, BaseExceptionGroup):
            yield "    +------------------------------------\n"

    def _all_frames(self, error: BaseException) -> list[Frame]:
        """Return the frames of libraries, for an error that came to no line of the user's."""
        return [frame for frame in _frames(error.__traceback__) if "/ninelives/run/" not in frame[0]]


def _lines(parts: Iterable[str]) -> list[str]:
    return "".join(parts).splitlines(keepends=True)


def _last_lines(error: BaseException) -> list[str]:
    try:
        return traceback.format_exception_only(type(error), error)
    except Exception:
        return [f"{type(error).__name__}\n"]
