"""What sync and async steps have in common: keys, digests, records, and what is read back from them."""

import functools
import http.client
import inspect
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ninelives.errors import LiveValueLost, StepInterrupted
from ninelives.host import Function, Mark, Retry
from ninelives.run import changes, codec, live, queries, tracebacks, transactions
from ninelives.run.changes import Tracked
from ninelives.run.codec import ChangesLost, Outcome
from ninelives.run.core import STARTED, Core, too_large
from ninelives.run.live import Method
from ninelives.run.lost import Lost, lost_of
from ninelives.run.past import Past, Record
from ninelives.run.registry import Registry
from ninelives.run.scope import Scope, Strand, current

_wall = time.time

#: In front of the body of a step whose call returned a coroutine, or another object to be awaited.
AWAITED: Final = b"a"
PENDING: Final = b"A"
#: What a record says of its step's receiver, among the states of live values.
_RECEIVER: Final = "receiver"
#: What an unmarked call gets.
PLAIN: Final = Mark(kind="step", retry=Retry(times=0))


class Step:
    """One call that is a step, with its key taken."""

    __slots__ = (
        "all_args",
        "args",
        "began",
        "digest",
        "fn",
        "kwargs",
        "mark",
        "n",
        "name",
        "record",
        "strand",
        "tracked",
    )

    def __init__(
        self, fn: Function, name: str, mark: Mark, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.fn = fn
        self.name = name
        self.mark = mark
        self.args = args
        #: With those that the callable brings: its receiver, a partial's own.
        self.all_args = _all_args(fn, args)
        self.kwargs = kwargs
        self.strand: Strand
        self.n = 0
        self.digest = b""
        self.record: Record | None = None
        self.tracked: Tracked | None = None
        self.began = 0.0

    @property
    def key(self) -> str:
        """What names the step in references."""
        return f"{self.strand.name}:{self.n}"

    @property
    def targets(self) -> Any:
        """What of its arguments a step may have changed."""
        return () if self.tracked is None else self.tracked.targets


class Inside(Scope):
    """The scope of a step's own code: nothing in it is recorded but what it prints."""

    __slots__ = ("_n", "_own_logs", "_past")

    def __init__(self, strand: Strand, n: int, past: Past) -> None:
        super().__init__(strand, records=False, decides=False)
        self._n = n
        self._past = past
        self._own_logs: Strand | None = None

    @property
    def logs(self) -> Strand:
        """The step as a strand of its own, that goes on behind what an earlier attempt printed."""
        if self._own_logs is None:
            name = f"{self.strand.name}/{self._n}"
            self._own_logs = Strand(name, self._past)
            self._own_logs.skip_logs(self._past.logs(name))
        return self._own_logs

    def end(self, flush: Callable[[Strand], None]) -> None:
        """Send what is left of a line that the step has printed."""
        if self._own_logs is not None:
            flush(self._own_logs)


class Stepping:
    """Prepares, records and reads back steps; how they are executed is left to `steps` and `asyncsteps`."""

    def __init__(self, core: Core, registry: Registry) -> None:
        self._core = core
        self._registry = registry
        core.codec.references = registry

    def _prepared(self, strand: Strand, step: Step) -> Step:
        core = self._core
        step.strand = strand
        step.n, step.record = core.take(strand)
        args = step.all_args
        step.digest = core.digests.of_call(step.name, args, step.kwargs)
        receiver = None if len(args) == len(step.args) else self._receiver(args[0])
        has_fields = core.classifier.is_user_class
        step.tracked = changes.track(
            args, step.kwargs, core.digests, has_fields, receiver, core.codec, is_alone=core.turns.is_alone
        )
        if step.record is not None:
            given = (step.args, step.kwargs)
            core.compare(step.record, strand, step.n, "step", step.name, step.digest, given)
        if step.tracked is not None and (step.record is None or step.record.status == STARTED):
            step.tracked.look()
        step.began = _wall()
        return step

    def _receiver(self, value: Any) -> Any:
        """Return the receiver of a method if it may be changed by it: one that lives here is not recorded."""
        return None if live.is_placeholder(value) or self._registry.is_live(value) else value

    def _replayed(self, step: Step, record: Record) -> Outcome:
        """Return what a record says that the step came to."""
        body, states = codec.split_states(record.body)
        if states:
            record = record._replace(body=body)
            self._note_receiver(step, states.pop(_RECEIVER, None), record.seq)
            self._registry.apply(states)
        if record.status == "live":
            return passed(self._lost_value(step, record))
        try:
            self._on_context(step)
            found = self._core.codec.read(record.body, step.targets)
            self._on_cursor(step, found)
            self._on_leaving(step)
        except ChangesLost as error:
            what = str(error) or (
                "changed its arguments into something that cannot be recorded, and that was lost with its "
                "process; return what the step makes instead"
            )
            return Outcome("error", b"", LiveValueLost(f"step {step.name} (record {record.seq}) {what}"))
        return handed_out(found, record.seq)

    def _note_receiver(self, step: Step, is_lost: bool | None, seq: int) -> None:
        """Note whether a step that is replayed left its receiver in a state that ended with its process."""
        args = step.all_args
        if is_lost is not None and args:
            self._registry.left(args[0], f"{step.name} (record {seq})" if is_lost else None)

    def _on_cursor(self, step: Step, found: Outcome) -> None:
        """Note a call of a lost cursor: it is made again with what it asked, and the rows that it gave.

        A connection, with the functions that it was given.
        """
        args = step.all_args
        if not args or not live.is_placeholder(args[0]):
            return
        method = step.name.rpartition(".")[2]
        if not queries.is_cursor(args[0].__class__):
            queries.was_set_up(lost_of(args[0]), method, args[1:], step.kwargs)
            return
        digest = self._core.digests.of_value
        before = digest(found.value)
        queries.was_called(
            lost_of(args[0]), method, args[1:], step.kwargs, lambda value: digest(value) == before
        )

    def _on_context(self, step: Step) -> None:
        """Note that a lost context was entered: what that gave is made again by entering it again."""
        if (
            step.name.endswith(("__enter__", "__aenter__"))
            and step.args
            and live.is_placeholder(step.args[0])
        ):
            context = lost_of(step.args[0])
            self._registry.is_entering(step.key, context, lambda: self._again(step))

    def _on_leaving(self, step: Step) -> None:
        """Note that something was left or closed; a temporary directory was there again until then."""
        args = step.all_args
        if args and live.is_placeholder(args[0]) and step.name.endswith(_LEAVES):
            lost_of(args[0]).was_left()

    def _lost_value(self, step: Step, record: Record) -> Any:
        about = self._core.codec.about(record.body)
        files = self._read_from(step) if about["what"] == "iterator" else []
        return self._registry.placeholder(
            Lost(about, step.name, record.seq, lambda: self._again(step, files))
        )

    def _read_from(self, step: Step) -> list[tuple[Any, int]]:
        """Return the files that an iterator reads, and where it began."""
        losts = [lost_of(value) for value in step.args if live.is_placeholder(value)]
        return [(lost, lost.about["file"]["position"]) for lost in losts if lost.about["what"] == "file"]

    def _again(self, step: Step, files: Sequence[tuple[Lost, int]] = ()) -> Any:
        """Make a handle again by the call that made it; an iterator over a file, from where it began."""
        token = current.set(Inside(step.strand, step.n, self._core.past))
        try:
            args, kwargs = self._registry.resolve(step.args, step.kwargs)
            for lost, position in files:
                lost.real().seek(position or 0)
            value = step.fn(*args, **kwargs)
        finally:
            current.reset(token)
        return value

    def _announce(self, step: Step) -> None:
        """Commit that a step starts, before it does."""
        core = self._core
        head = core.head("call", step.strand.name, step.n, "step", step.name, STARTED, step.began)
        head["digest"] = step.digest.hex()
        head["end"] = None
        head["preview"] = {"args": core.previews.of_args(step.args, step.kwargs)}
        core.commit(head, b"")

    def _call(self, step: Step) -> Any:
        """Call the function, with real values for those that were lost."""
        args, kwargs = step.args, step.kwargs
        if step.name.endswith((".close", ".__exit__")):
            self._note_receiver(step, False, 0)
        self._registry.see_there(step.all_args)
        if self._registry.has_placeholders:
            if _only_leaves(step):
                lost_of(step.args[0]).was_left()
                return _nothing() if inspect.iscoroutinefunction(step.fn) else None
            if step.name.endswith(("__exit__", "__aexit__")):
                live.enter_again(step.args)
            queries.begins_anew(step.name, step.all_args)
            args, kwargs = self._registry.resolve(args, kwargs)
        return step.fn(*args, **kwargs)

    def _record(
        self, step: Step, value: Any, *, is_error: bool, attempt: int
    ) -> tuple[dict[str, Any], Outcome]:
        core = self._core
        if is_error and core.past.count:
            _explain(value)
        outcome = core.codec.error(value, step.tracked) if is_error else self._outcome(step, value)
        outcome = self._with_states(step, outcome)
        large = too_large(step.name, outcome.body)
        if large is not None:
            outcome = core.codec.error(large, None)
        head = core.head("call", step.strand.name, step.n, "step", step.name, outcome.status, step.began)
        head["attempt"] = attempt
        head["digest"] = step.digest.hex()
        head["preview"] = self._preview(step, outcome)
        return head, outcome

    def _with_states(self, step: Step, outcome: Outcome) -> Outcome:
        """Add how live values are after the step: their attributes, where files stand, open transactions."""
        args = step.all_args
        states = {}
        if self._registry:
            states = self._registry.states(args, queries.touch(step.name, step.args, step.kwargs))
        is_lost = _is_receiver_lost(step, args)
        if is_lost is not None:
            states[_RECEIVER] = is_lost
        return outcome._replace(body=codec.with_states(outcome.body, states)) if states else outcome

    def _outcome(self, step: Step, value: Any) -> Outcome:
        if step.mark.kind != "live":
            is_live = self._registry.has_any and self._registry.is_live(value)
            found = None if is_live else self._core.codec.value(value, step.tracked)
            found = found or self._referring(step, value)
            if found is not None:
                return found
        is_query = queries.is_cursor(type(value)) and queries.only_asks(step.args, step.kwargs)
        is_handle = step.mark.kind == "live" or is_query
        about = self._registry.add(value, step.key, step.name, is_handle=is_handle)
        return Outcome("live", self._core.codec.live(about), value)

    def _referring(self, step: Step, value: Any) -> Outcome | None:
        """Return what is recorded of a value whose parts are live: those that were, or are from now on."""
        codec, registry = self._core.codec, self._registry
        found = codec.referring(value, step.tracked) if registry.has_any else None
        if found is None and type(value) in _HOLDERS:
            for place, item in _items(value, ""):
                if not registry.is_live(item) and codec.value(item, None) is None:
                    registry.add(item, step.key + place, step.name)
            found = codec.referring(value, step.tracked)
        return found

    def _preview(self, step: Step, outcome: Outcome) -> dict[str, Any]:
        previews = self._core.previews
        shown: dict[str, Any] = {"args": previews.of_args(step.args, step.kwargs)}
        if outcome.status == "error":
            shown["error"] = previews.of_error(outcome.value)
        else:
            shown["result"] = previews.of_value(outcome.value)
        return shown


#: The names of steps that end what they are called on.
_LEAVES = (".__exit__", ".__aexit__", ".aclose", ".cleanup", ".close")
#: What holds several things that a step returned.
_HOLDERS = frozenset({list, tuple, dict})


def _items(holder: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Go over what containers hold, with its place."""
    pairs = holder.items() if type(holder) is dict else enumerate(holder)
    for index, (_, item) in enumerate(pairs):
        inner = f"{place}[{index}]"
        if type(item) in _HOLDERS:
            yield from _items(item, inner)
        else:
            yield inner, item


#: `Method` first: it is asked for no class of what it stands for then.
_METHODS = (Method, types.MethodType, types.BuiltinFunctionType, types.MethodWrapperType)


def _all_args(fn: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments of a call with those that the callable brings: its receiver, a partial's own."""
    cls = type(fn)
    if cls is functools.partial:
        return _all_args(fn.func, (*fn.args, *args))
    if isinstance(fn, _METHODS) and fn.__self__ is not None and type(fn.__self__) is not types.ModuleType:
        return (fn.__self__, *args)
    return args


def _is_receiver_lost(step: Step, args: tuple[Any, ...]) -> bool | None:
    """Tell whether a step left its receiver in a state that ends with the process; `None`: as before."""
    if len(args) > len(step.args) and isinstance(args[0], http.client.HTTPConnection):
        return transactions.is_asking(args[0])
    return True if step.tracked is not None and step.tracked.has_lost_receiver else None


def _only_leaves(step: Step) -> bool:
    """Tell whether this leaves a value, or a context around it, that its process has left by dying."""
    leaves = step.name.endswith((".__exit__", ".__aexit__", ".close"))
    if not leaves or not step.args or not live.is_placeholder(step.args[0]):
        return False
    lost = lost_of(step.args[0])
    return lost.has_ended or (lost.entered is not None and lost.entered.has_ended)


async def _nothing() -> None:
    """Be what is awaited where there is nothing to leave."""


def _explain(error: BaseException) -> None:
    """Say why a file may be missing that an earlier process of this session has written."""
    name = getattr(error, "filename", None)
    if not isinstance(error, FileNotFoundError) or not isinstance(name, str):
        return
    own = (Path.cwd(), Path(tempfile.gettempdir()))
    if any(Path(name).absolute().is_relative_to(directory) for directory in own):
        error.add_note(
            "a session's working directory does not survive its process, nor do temporary files, and this "
            "session was started again; keep data in the store, or in a file service"
        )


def interruption(step: Step) -> StepInterrupted:
    """Return what user code gets for a step that had started when its process died."""
    return StepInterrupted(
        f"step {step.name} had started when its process died, and is marked retry='never'; whether it was "
        "done is unknown: find out, and go on accordingly"
    )


def handed_out(outcome: Outcome, seq: int) -> Outcome:
    """Return an outcome whose error knows its record."""
    if outcome.status == "error":
        tracebacks.note(outcome.value, tracebacks.SEQ, seq)
    return outcome


def passed(value: Any) -> Outcome:
    """Return an outcome that is handed on as it is."""
    return Outcome("ok", b"", value)
