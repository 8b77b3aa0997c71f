"""Runs one session in this process: from the first frame on the socket to the acknowledged end.

`run_session` is called in a process that the worker made and confined for this session alone. It reads
`start`, the journal and `go`, runs the entry point, reports what came of it and returns; a parked session,
or one whose supervisor is gone, ends the process instead.
"""

import asyncio
import contextlib
import faulthandler
import json
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ninelives import arguments, host
from ninelives.errors import Divergence, Restarting, Stopped
from ninelives.messages import event_of
from ninelives.run import check, compat, entry, limits, loader, loops, semantics, tracebacks
from ninelives.run.classify import Classifier
from ninelives.run.core import Core
from ninelives.run.link import Link
from ninelives.run.masking import Masks
from ninelives.run.output import Output, Room
from ninelives.run.past import Past
from ninelives.run.scope import Scope, Strand, current, user_scope
from ninelives.run.session import DurableSession, PlainSession
from ninelives.run.tracebacks import Formatter
from ninelives.run.waits import PARK_AFTER
from ninelives.run.wire import Frame

#: Variables of this process that a session keeps; everything else comes with the `start` frame.
_KEPT = frozenset({"PATH", "LANG", "LC_ALL", "HOME", "TMPDIR", "PYTHONHASHSEED", "PYTHONUTF8", "VIRTUAL_ENV"})
#: Interrupts what the main thread of a session that is not durable does.
_STOP_SIGNAL = signal.SIGRTMIN + 3
_KEPT_SUFFIX = "_NUM_THREADS"
#: Halves of surrogate pairs, which no UTF-8 holds.
_HALF = re.compile("[\ud800-\udfff]")

Start = Mapping[str, Any]


def run_session(sock: socket.socket, build_dir: str) -> None:
    """Run the session that the other end of the socket describes.

    Args:
        sock: To the supervisor; frames of `wire`.
        build_dir: The project's code, not to be written to. The working directory is the caller's, or the
            `work_dir` of the `start` frame.
    """
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 2000))
    link = Link(sock)
    link.send({"t": "hello", "pid": os.getpid()})
    start, past, stops = _read_journal(link)
    if start.get("is_durable"):
        semantics.keep_to(int(start["semantics"]))
    _set_environment(start)
    run = _Run(link, start, past, os.path.realpath(build_dir))
    run.begin(stops)
    run.end(*run.main())


def _read_journal(link: Link) -> tuple[Start, Past, list[Frame]]:
    """Read everything that comes before the session may run."""
    start: Start = {}
    past, stops = Past(), []
    while True:
        frame = link.receive()
        match frame.type:
            case "start":
                start = frame.head
            case "past":
                past.add(frame)
            case "stop":
                stops.append(frame)
            case "go":
                return start, past, stops


def _set_environment(start: Start) -> None:
    """Make the environment, time zone and directory those of the session."""
    kept = {k: v for k, v in os.environ.items() if k in _KEPT or k.endswith(_KEPT_SUFFIX)}
    os.environ.clear()
    os.environ.update(kept)
    os.environ["TZ"] = start.get("tz") or "UTC"
    time.tzset()
    os.environ.update({str(name): str(value) for name, value in (start.get("env") or {}).items()})
    if ca_file := start.get("ca_file"):
        os.environ["SSL_CERT_FILE"] = os.environ["REQUESTS_CA_BUNDLE"] = str(ca_file)
    if work_dir := start.get("work_dir"):
        os.chdir(work_dir)
    tempfile.tempdir = None  # each session has its own; a library may have asked for the zygote's


class _Run:
    """One session in this process."""

    def __init__(self, link: Link, start: Start, past: Past, build_dir: str) -> None:
        self._link = link
        self._start = start
        self._is_durable = bool(start.get("is_durable"))
        self._session_id = str(start["session_id"])
        self._build_dir = build_dir
        self._masks = Masks(start.get("secrets") or (), start.get("secret_names") or {})
        self._classifier = Classifier(build_dir)
        self._formatter = Formatter(build_dir, self._classifier.is_user_file)
        self._main_thread = threading.get_ident()
        self._was_stopped = False
        self._check = check.Check(link, past) if start.get("check") else None
        self._core: Core | None = None
        self._durable: DurableSession | None = None
        self._strand = Strand("0", past)
        if self._is_durable:
            self._core = Core(
                link=link,
                past=past,
                masks=self._masks,
                classifier=self._classifier,
                seed=str(start["seed"]),
                session_id=self._session_id,
            )
            self._strand = self._core.main
        self._limits: limits.Limits = start.get("limits") or {}
        self._ceilings: limits.Limits = start.get("ceilings") or {}
        room = Room(self._limits.get(limits.OUTPUT, 0), past.log_bytes, self._ceilings)
        self._output = Output(link, past, self._masks, self._strand, room)

    # --- setting up ---------------------------------------------------------------------------------------

    def begin(self, stops: list[Frame]) -> None:
        """Take the places of what user code uses, and start to listen."""
        connections = self._start.get("connections") or ()
        largest = int(self._start.get("call_limit") or arguments.INLINE)
        # Then the signal kills, as it does by itself: a call that it interrupts must not go on to a good end.
        faulthandler.register(limits.DUMP_SIGNAL, file=2, all_threads=True, chain=True)
        if self._core is None:
            signal.signal(_STOP_SIGNAL, _raise_stopped)
            self._output.is_single = True
            plain = PlainSession(self._link, self._masks, self._session_id, connections, largest)
            host.install(plain)
            self._output.install(lambda _file, _text: False)
            self._link.start({"stop": self._stop_plain, "mail": plain.mail})
        else:
            self._begin_durable(self._core, connections, largest)
        compat.install(self._classifier.mark)
        finder = loader.Finder(
            self._build_dir,
            is_durable=self._is_durable,
            scope=self._loading,
            on_module=self._classifier.modules.add,
        )
        finder.install()
        for frame in stops:
            self._stop(frame)

    def _begin_durable(self, core: Core, connections: Any, largest: int) -> None:
        park_after = float(self._start.get("park_after") or PARK_AFTER)
        durable = self._durable = DurableSession(core, connections, largest, park_after)
        host.install(durable)
        self._output.install(durable.print_to)
        core.flush_output = self._output.flush
        core.end_with = self._end_with
        durable.install()
        if self._check is not None:
            self._check.install(core)
        self._link.start({"stop": self._stop, "mail": durable.mail})

    def _loading(self) -> Callable[[], None]:
        """Begin a module's top level: no call is a step, clock and chance are the session's."""
        scope = current.get()
        strand = self._strand if scope is None else scope.strand
        decides = self._is_durable and (scope is None or scope.decides)
        token = current.set(Scope(strand, records=False, decides=decides))
        return lambda: current.reset(token)

    # --- running ------------------------------------------------------------------------------------------

    def main(self) -> tuple[str, Any, BaseException | None]:
        """Run the entry point; return state, result and error."""
        try:
            return "completed", self._call(self._entry_point()), None
        except Stopped:
            return "stopped", None, None
        except Restarting as restart:
            return "restart", restart.data, None
        except asyncio.CancelledError as error:
            is_stop = self._core is not None and self._core.was_stopped
            return ("stopped", None, None) if is_stop else ("error", None, error)
        except SystemExit as error:
            return ("completed", None, None) if error.code in {None, 0} else ("error", None, error)
        except BaseException as error:
            if isinstance(error, MemoryError):
                limits.ease()
            limits.explain(error, self._limits, self._ceilings)
            entry.explain(error)
            return "error", None, error

    def _entry_point(self) -> Any:
        leave = self._loading()
        try:
            return entry.find(str(self._start["entrypoint"]), self._build_dir)
        finally:
            leave()

    def _call(self, found: Any) -> Any:
        event = event_of(self._start.get("event") or {}, self._session_id)
        if self._durable is None:
            return entry.call(found, event, self._session_id)
        token = current.set(user_scope(self._strand))
        try:
            options = entry.arguments(found, self._session_id)
            result = entry.not_a_generator(self._durable.entry(found)(event, **options))
            return loops.run(result, self._strand) if asyncio.iscoroutine(result) else result
        finally:
            current.reset(token)

    # --- stopping -----------------------------------------------------------------------------------------

    def _stop(self, frame: Frame) -> None:
        if self._core is not None:
            self._core.stop(str(frame.head.get("reason") or ""))
        else:
            self._stop_plain(frame)

    def _stop_plain(self, _frame: Frame) -> None:
        """Raise `Stopped` in the main thread of a session that is not durable, whatever it does."""
        if not self._was_stopped:
            self._was_stopped = True
            signal.pthread_kill(self._main_thread, _STOP_SIGNAL)

    # --- the end ------------------------------------------------------------------------------------------

    def end(self, state: str, result: Any, error: BaseException | None) -> None:
        """Report what came of the session, and wait until that is committed."""
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        if self._check is not None:
            self._check.ended(error, "" if error is None else self._message(error))
        self._output.end()
        if state == "restart":
            args, body = arguments.packed("restart", {"data": result}, arguments.LARGEST)
            # Where it is large it is the body: the header says only that there is a successor.
            self._report("completed", body, None, args.get("data", {}))
            return
        document = None if error is None else self._document(error)
        self._report(state, b"" if error is not None else self._result(result), document)

    def _end_with(self, error: BaseException) -> NoReturn:
        """End the session with an error, now, in whatever thread."""
        if self._check is not None:
            self._check.ended(error, self._message(error))
        self._output.end()
        self._report("error", b"", self._document(error))
        os._exit(0)

    def _report(
        self,
        state: str,
        body: bytes,
        document: Mapping[str, Any] | None,
        restart: Mapping[str, Any] | None = None,
    ) -> None:
        head = {"t": "done", "state": state, "error": document}
        self._link.ask(head if restart is None else {**head, "restart": restart}, body)

    def _result(self, result: Any) -> bytes:
        try:
            plain = json.loads(json.dumps(result, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            plain = {"repr": _look(result)}
        if arguments.depth(plain) > arguments.DEEPEST:
            plain = {"repr": _look(result)}
        text = json.dumps(self._masks.everywhere(plain), ensure_ascii=False)
        return _HALF.sub(lambda half: f"\\\\u{ord(half.group()):04x}", text).encode()

    def _document(self, error: BaseException) -> dict[str, Any]:
        def mask(text: str, longest: int = 20_000) -> str:
            return _shortened(self._masks.text(text), longest)

        seq = getattr(error, tracebacks.SEQ, None)
        if seq is None and self._core is not None and self._core.last_seq:
            seq = self._core.last_seq
        is_divergence = isinstance(error, Divergence)
        return {
            "type": type(error).__qualname__,
            "message": mask(self._message(error)),
            "repr": mask(_look(error)),
            "traceback": "" if is_divergence else mask(self._formatter.format(error), 60_000),
            "seq": seq,
        }

    def _message(self, error: BaseException) -> str:
        if isinstance(error, SystemExit):
            return f"the program called sys.exit({error.code!r})"
        return self._formatter.message(error)


def _shortened(text: str, longest: int) -> str:
    """Return a text for people: no longer than a frame's header takes, and in Unicode."""
    if len(text) > longest:
        half, more = longest // 2, len(text) - longest
        text = f"{text[:half]}\n… {more:,} characters are left out here …\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode()


def _raise_stopped(_number: int, _frame: object) -> NoReturn:
    raise Stopped("the session was stopped")


def _look(value: object) -> str:
    try:
        return repr(value)[:10_000]
    except Exception:
        return f"<{type(value).__qualname__}>"
