"""What user code prints and logs, exactly as it was printed, as records of its own track.

Text that does not end a line waits for the rest of it, but never longer than until the strand's next step.
What an earlier process printed is not printed again.
"""

import builtins
import io
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ninelives.run import limits
from ninelives.run.link import Link
from ninelives.run.masking import Masks
from ninelives.run.past import Past
from ninelives.run.scope import Strand, current

PRINT, STDERR = "print", "stderr"
#: The level of what is said about the output itself.
ABOUT = "ninelives"

#: Handlers of `logging.handlers` that send what they are given.
_SENDING = frozenset({"HTTPHandler", "SMTPHandler", "SocketHandler", "SysLogHandler"})

_wall = time.time
_real_print = builtins.print

#: Longer texts are cut into several records. characters
_LONGEST = 200_000


class Output:
    """Sends what is printed."""

    def __init__(self, link: Link, past: Past, masks: Masks, main: Strand, room: "Room") -> None:
        """Keep as much of what the session prints as there is `room` for."""
        self._room = room
        self._link = link
        self._past = past
        self._masks = masks
        self._main = main
        self._lock = threading.Lock()
        self._pending: dict[str, tuple[Strand, str, str]] = {}
        #: Threads that are no strands print under a name of their own.
        self._stray = Strand("x", past)
        self._stray.skip_logs(past.logs("x"))
        #: A session that is not durable has one strand.
        self.is_single = False
        self.stdout = Stream(self, PRINT, 1)
        self.stderr = Stream(self, STDERR, 2)

    def install(self, print_to: Callable[[Any, str], bool]) -> None:
        """Take the place of `print`, of both streams, and of what logging writes to them.

        `print_to` is given other files and the text; it returns whether it has written it.
        """
        stdout = self.stdout
        sys.stdout, sys.stderr = self.stdout, self.stderr

        def print(
            *values: object,
            sep: str | None = " ",
            end: str | None = "\n",
            file: Any = None,
            flush: bool = False,
        ) -> None:
            """Print as the builtin does."""
            target = sys.stdout if file is None else file
            text = io.StringIO()
            _real_print(*values, sep=sep, end=end, file=text)
            if target is stdout or target is sys.__stdout__:
                stdout.write(text.getvalue())
            elif not print_to(target, text.getvalue()):
                _real_print(*values, sep=sep, end=end, file=file, flush=flush)

        print.__module__ = "builtins"
        builtins.print = print
        _teach_logging()
        if not self.is_single:
            _once(self)

    # --- sending ------------------------------------------------------------------------------------------

    def write(self, text: str, level: str) -> None:
        """Take a piece of text; it is sent when its line ends."""
        strand = self._strand()
        with self._lock:
            before = self._pending.pop(strand.name, None)
            if before is not None:
                if before[1] == level:
                    text = before[2] + text
                else:
                    self._send(*before)
            if not text:
                return
            if text.endswith("\n") or len(text) > _LONGEST:
                self._send(strand, level, text)
            else:
                self._pending[strand.name] = (strand, level, text)

    def flush(self, strand: Strand) -> None:
        """Send what a strand has printed of a line that has not ended."""
        if self._pending:
            with self._lock:
                before = self._pending.pop(strand.name, None)
                if before is not None:
                    self._send(*before)

    def flush_all(self) -> None:
        """Send everything."""
        with self._lock:
            while self._pending:
                self._send(*self._pending.popitem()[1])

    def end(self) -> None:
        """Send everything, and say how much was not kept."""
        self.flush_all()
        if self._room.lost_bytes:
            n = self._main.take_log()
            if n >= self._past.logs(self._main.name):
                self._post_at(n, self._main, ABOUT, self._room.last_word())

    def take_for_handler(self) -> tuple[Strand, int] | None:
        """Take the key of a line that a handler of logging brings out; `None` if that has been done.

        A step that is executed again brings its lines again, as it does all that it does.
        """
        strand = self._strand()
        self.flush(strand)
        n = strand.take_log()
        return None if n < self._past.logs(strand.name) else (strand, n)

    def handled(self, key: tuple[Strand, int]) -> None:
        """Note that a handler has brought a line out of the process; nothing was printed."""
        self._post_at(key[1], key[0], ABOUT, b"")

    @property
    def is_in_session(self) -> bool:
        """Whether the code that runs now is user code, or a step of it, in the session's own process."""
        return current.get() is not None and not self._link.is_child

    def _strand(self) -> Strand:
        if self.is_single:
            return self._main
        scope = current.get()
        return self._stray if scope is None else scope.logs

    def _send(self, strand: Strand, level: str, text: str) -> None:
        for at in range(0, len(text), _LONGEST):
            self._send_one(strand, level, text[at : at + _LONGEST])

    def _send_one(self, strand: Strand, level: str, text: str) -> None:
        if self._link.is_child:
            os.write(2 if level == STDERR else 1, text.encode("utf-8", "backslashreplace"))
            return
        n = strand.take_log()
        if n < self._past.logs(strand.name):
            return
        if kept := self._room.fit(self._masks.text(text).encode("utf-8", "backslashreplace")):
            self._post_at(n, strand, level, kept)

    def _post_at(self, n: int, strand: Strand, level: str, data: bytes) -> None:
        now = _wall()
        head = {
            "t": "record",
            "track": "log",
            "strand": strand.name,
            "n": n,
            "kind": "log",
            "name": level if level.isprintable() else ascii(level)[1:-1],
            "status": "ok",
            "start": now,
            "end": now,
        }
        self._link.post(head, None, data)


class Room:
    """How much more of the output is kept, of all of a session's processes together; the rest is counted."""

    def __init__(self, limit_mb: int, used: int, ceilings: limits.Limits) -> None:
        """Keep up to `limit_mb`, of which so many bytes are `used`; 0 keeps all."""
        self._limit_mb = limit_mb
        self._ceilings = ceilings
        self._limit = limit_mb * limits.MB
        self._used = used
        #: What says that the limit was reached goes beyond it: so the next process knows that it was said.
        self._has_said = used > self._limit
        self.lost_bytes = 0
        self.lost_pieces = 0

    def fit(self, data: bytes) -> bytes:
        """Return what is kept of a piece; the one that reaches the limit says so at its end."""
        if not self._limit or self._used + len(data) <= self._limit:
            self._used += len(data)
            return data
        if self._has_said:
            self.lost_bytes += len(data)
            self.lost_pieces += 1
            return b""
        self._has_said = True
        kept = data[: max(0, self._limit - self._used)].decode("utf-8", "ignore").encode()
        self._used = self._limit
        why = limits.words(limits.OUTPUT, self._limit_mb, self._ceilings)
        cut = len(data) - len(kept)
        return kept + f"\nninelives: {why}; {cut} bytes of this and all that follows are cut\n".encode()

    def last_word(self) -> bytes:
        """Say how much was not kept."""
        lost, pieces = self.lost_bytes, self.lost_pieces
        return f"ninelives: {lost} more bytes in {pieces} pieces were printed and not kept\n".encode()


class Stream(io.TextIOBase):
    """A text stream that sends what is written to it."""

    def __init__(self, output: Output, level: str, fd: int) -> None:
        super().__init__()
        self._output = output
        self._level = level
        self._fd = fd
        self.buffer = _Buffer(self)

    encoding = "utf-8"
    errors = "backslashreplace"

    def write(self, text: str, /) -> int:
        """Take a piece of text."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._output.write(text, self._level)
        return len(text)

    def write_at(self, level: str, text: str) -> None:
        """Take a piece of text of another level, as logging has them."""
        self._output.write(text, level)

    def writable(self) -> bool:
        """Say yes."""
        return True

    def isatty(self) -> bool:
        """Say no."""
        return False

    def fileno(self) -> int:
        """Return the descriptor that child processes write to."""
        return self._fd


class _Buffer(io.RawIOBase):
    """The bytes below a stream."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream

    def write(self, data: Any, /) -> int:
        self._stream.write(bytes(data).decode("utf-8", "backslashreplace"))
        return len(data)

    def writable(self) -> bool:
        return True


def _reaches_out(handler: logging.Handler) -> bool:
    """Tell whether what a handler of the standard library does would be done twice by a replay.

    A file that is written from its beginning, or that ends with the process, has all lines only if the replay
    writes them again.
    """
    if isinstance(handler, logging.FileHandler):
        is_own = Path(handler.baseFilename).is_relative_to(Path.cwd())
        return handler.mode.startswith("a") and not is_own
    bases = type(handler).__mro__
    return any(base.__module__ == "logging.handlers" and base.__name__ in _SENDING for base in bases)


def _once(output: Output) -> None:
    """Have handlers of logging that reach out of the process do so once for each line."""
    handle = logging.Handler.handle

    def handle_once(self: logging.Handler, record: logging.LogRecord) -> Any:
        if not _reaches_out(self) or not output.is_in_session:
            return handle(self, record)
        key = output.take_for_handler()
        if key is None:
            return True
        found = handle(self, record)
        output.handled(key)
        return found

    logging.Handler.handle = handle_once  # type: ignore[method-assign]


def _teach_logging() -> None:
    """Have logging's lines keep their level where they are written to our streams."""
    emit = logging.StreamHandler.emit

    def emit_with_level(self: "logging.StreamHandler[Any]", record: logging.LogRecord) -> None:
        stream = self.stream
        if not isinstance(stream, Stream):
            emit(self, record)
            return
        try:
            stream.write_at(record.levelname, self.format(record) + self.terminator)
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)

    logging.StreamHandler.emit = emit_with_level  # type: ignore[assignment,method-assign]
