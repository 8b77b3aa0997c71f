"""The session as SDK functions see it: one for durable sessions, one for those that run as plain Python."""

import asyncio
import builtins
import contextlib
import inspect
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from ninelives import arguments
from ninelives.errors import (
    ConnectionNotReady,
    NinelivesError,
    NoSuchSource,
    NotSupported,
    SessionEnded,
    TokenRefused,
)
from ninelives.host import Function, Mark
from ninelives.run import core as cores
from ninelives.run import instrument, loops
from ninelives.run.asyncsteps import AsyncSteps
from ninelives.run.calls import Calls
from ninelives.run.chance import Chance
from ninelives.run.classify import display_name
from ninelives.run.clocks import Clocks
from ninelives.run.core import Core
from ninelives.run.iterators import Iterators
from ninelives.run.link import Link
from ninelives.run.loops import Policy
from ninelives.run.mailbox import Mailbox, PlainMailbox
from ninelives.run.masking import Masks
from ninelives.run.registry import Registry
from ninelives.run.scope import Scope, current
from ninelives.run.steps import Steps
from ninelives.run.threads import Threads
from ninelives.run.turns import Entry
from ninelives.run.waits import PARK_AFTER, Waits
from ninelives.run.wire import Frame

_wall = time.time
#: So many marked functions are remembered.
_MOST_KNOWN = 1000

#: Errors of the server's answers that user code gets as they are.
_ANSWERED: Final[dict[str, type[Exception]]] = {
    "ValueError": ValueError,
    "TypeError": TypeError,
    "KeyError": KeyError,
    "NotImplementedError": NotSupported,
    "ConnectionNotReady": ConnectionNotReady,
    "NoSuchSource": NoSuchSource,
    "SessionEnded": SessionEnded,
    "TokenRefused": TokenRefused,
}


class Talk:
    """What every session asks the server; `largest` is what one call may hand over, in bytes."""

    def __init__(
        self, link: Link, masks: Masks, session_id: str, connections: Iterable[str], largest: int
    ) -> None:
        self.link: Final = link
        self.masks: Final = masks
        self.plain_mailbox: Final = PlainMailbox(link)
        self._session_id = session_id
        self._connections = frozenset(connections)
        self._largest = largest

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self._session_id

    @property
    def connections(self) -> frozenset[str]:
        """The names of the project's connections."""
        return self._connections

    def ask(self, name: str, args: Mapping[str, Any]) -> Any:
        """Have the server do something that is not recorded, and return its answer."""
        plain, body = self._packed(name, args)
        return _answer_of(self.link.ask({"t": "call", "key": None, "name": name, "args": plain}, body))

    def plain(self, name: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments as the server takes them, or raise what is wrong with them."""
        return arguments.plain(name, args, self._largest)

    def _packed(self, name: str, args: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Return arguments as a frame has them; what the server keeps for people alone has no secret."""
        if name == "start":
            args = {**args, "memo": self.masks.everywhere(self.plain(name, args).get("memo") or {})}
        return arguments.packed(name, args, self._largest)

    def token(self, connection: str, refused: str | None) -> Mapping[str, Any]:
        """Ask for a connection's access token; `refused` is the SHA-256, in hex, of one that was refused."""
        try:
            answer = self.ask("token", {"connection": connection, "refused": refused})
        except NinelivesError:
            raise
        except Exception as error:
            raise TokenRefused(str(error)) from error
        found: Mapping[str, Any] = answer or {}
        value = str(found.get("token") or found.get("access_token") or "")
        self.masks.add(value, f"{connection}__oauth_access_token")
        return found


class PlainSession(Talk):
    """A session that is not durable: plain Python, nothing recorded but what is printed."""

    def marked(self, mark: Mark, fn: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function, again where its mark says so."""
        if inspect.iscoroutinefunction(fn):
            return _retried_async(mark, fn, args, kwargs)
        return _retried(mark, fn, args, kwargs)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def sleep_async(self, seconds: float) -> Any:
        """Return an awaitable that waits."""
        return asyncio.sleep(seconds)

    def call(self, name: str, args: Mapping[str, Any]) -> Any:
        """Have the server do something."""
        return self.ask(name, args)

    def wait(self, name: str, args: Mapping[str, Any], topics: Sequence[str]) -> Any:  # noqa: ARG002
        """Wait for something, in place; the session is shown as waiting meanwhile."""
        return _answered(self.plain_mailbox.wait(name, arguments.plain(name, args), self._tell))

    def wait_async(self, name: str, args: Mapping[str, Any], topics: Sequence[str]) -> Any:
        """Return an awaitable that waits for something."""
        return asyncio.to_thread(self.wait, name, args, topics)

    def _tell(self, is_waiting: bool) -> None:
        self.link.send({"t": "waiting", "is_waiting": is_waiting})

    def mail(self, _frame: Frame) -> None:
        """Take the word that something has come into the inbox; in the link's thread."""
        self.plain_mailbox.look()

    def direct(self) -> contextlib.AbstractContextManager[None]:
        """Return a context that changes nothing."""
        return contextlib.nullcontext()

    def never_a_step(self, items: Any) -> None:
        """Do nothing: there are no steps."""


class DurableSession(Talk):
    """A durable session: everything that reaches the world is recorded."""

    def __init__(
        self, core: Core, connections: Iterable[str], largest: int, park_after: float = PARK_AFTER
    ) -> None:
        super().__init__(core.link, core.masks, core.session_id, connections, largest)
        self._core = core
        registry = Registry(core.masks, core.classifier.is_user_class, core.classifier.is_own)
        core.digests.live_form = registry.form
        self._waits = Waits(core, registry, park_after)
        self._mailbox = Mailbox(core, self._waits)
        self._async = AsyncSteps(core, registry)
        self._steps = Steps(core, registry, self._async)
        self._iterators = Iterators(core, registry, self._steps, self._async)
        clocks = Clocks(core)
        self._threads = Threads(core, self._waits.timeout, clocks)
        self._calls = Calls(
            core, registry, self._steps, self._async, clocks, Chance(core), self._waits, self._iterators
        )
        self._registry = registry
        # Marked functions, by their id: what people call them, and what makes a step of a call.
        self._known: dict[int, tuple[Function, str, Callable[..., Any]]] = {}

    def install(self) -> None:
        """Have rewritten code find us, and replace what it blocks on."""
        for name, function in (
            (instrument.CALL, self._calls.call),
            (instrument.METHOD, self._calls.method),
            (instrument.ITEMS, self._iterators.items),
            (instrument.ASYNC_ITEMS, self._iterators.async_items),
            (instrument.ENTER, self._iterators.enter),
            (instrument.ASYNC_ENTER, self._iterators.async_enter),
            (instrument.MODULE, self._calls.settled.declare),
            (instrument.TYPE, type),
        ):
            setattr(builtins, name, function)
        self._threads.install()
        loops.install()
        asyncio.set_event_loop_policy(Policy(self._core, self._waits))

    # --- what the SDK asks --------------------------------------------------------------------------------

    def marked(self, mark: Mark, fn: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function as its mark says."""
        if mark.kind == "inhibit":
            return self._calls.inhibited(fn, *args, **kwargs)
        known = self._known.get(id(fn))
        if known is None or known[0] is not fn:
            make = self._async.make if inspect.iscoroutinefunction(fn) else self._steps.make
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()  # the code marks functions while it runs
            known = self._known[id(fn)] = (fn, display_name(fn), make)
        _, name, make = known
        return make(fn, (mark.name or name)[:300], mark, *args, **kwargs)

    def sleep(self, seconds: float) -> None:
        """Wait, durably."""
        self._waits.sleep(seconds, name="ninelives.sleep")

    def sleep_async(self, seconds: float) -> Any:
        """Return an awaitable that waits, durably."""
        return self._waits.sleep_async(seconds, name="ninelives.sleep")

    @contextlib.contextmanager
    def direct(self) -> Iterator[None]:
        """Make calls directly; clock and chance are the session's all the same."""
        scope = current.get()
        if scope is None or not scope.records:
            yield
            return
        token = current.set(Scope(scope.strand, records=False, decides=True))
        try:
            yield
        finally:
            current.reset(token)

    def never_a_step(self, items: Any) -> None:
        """Have functions and classes called directly from now on."""
        self._core.classifier.never_a_step(items)
        self._calls.forget()

    def print_to(self, file: Any, text: str) -> bool:
        """Write what is printed to a file that lives outside; that is a step. Others are left to Python."""
        scope = current.get()
        if scope is None or not scope.records or not self._registry.is_live(file):
            return False
        self._calls.call(file.write)(text)
        return True

    def entry(self, fn: Any) -> Any:
        """Return how an entry point is called: as it is marked, in the AutoKitteh way too."""
        return self._calls.call(fn)

    # --- calls that the server answers ----------------------------------------------------------------------

    def call(self, name: str, args: Mapping[str, Any]) -> Any:
        """Have the server do something and record it, in one transaction."""
        scope = current.get()
        if scope is None or not scope.records:
            return self.ask(name, args)
        core, strand = self._core, scope.strand
        plain, body = self._packed(name, args)  # before the key is taken: what is refused here is no step
        n, record = core.take(strand)
        digest = core.digests.of_call(name, (), args)
        turns = core.turns
        if record is not None:
            core.compare(record, strand, n, "step", name, digest, ((), args))
            if not turns.is_alone:
                lane = core.own_lane()
                turns.wait_for(lane, Entry(lane), record.seq)
            return _answered(json.loads(record.body))
        head = {
            "t": "call",
            "key": {"strand": strand.name, "n": n},
            "name": name,
            "args": plain,
            "digest": digest.hex(),
            "start": _wall(),
            "preview": {"args": core.previews.of_args((), args)},
        }
        if turns.is_alone:
            return self._taken(self.link.ask(head, body))
        return self._in_turn(head, body)

    def wait(self, name: str, args: Mapping[str, Any], topics: Sequence[str]) -> Any:
        """Wait until the server has an answer, and record it; a long wait parks the session."""
        scope, args = current.get(), arguments.plain(name, args)
        if scope is None or not scope.records:
            return _answered(self.plain_mailbox.wait(name, args))
        return _answered(self._mailbox.wait(scope, name, args, topics))

    def wait_async(self, name: str, args: Mapping[str, Any], topics: Sequence[str]) -> Any:
        """Return a coroutine that waits until the server has an answer."""
        scope, args = current.get(), arguments.plain(name, args)
        if scope is None or not scope.records:
            return asyncio.to_thread(self.wait, name, args, topics)
        return self._waited(self._mailbox.wait_async(scope, name, args, topics))

    async def _waited(self, answer: Any) -> Any:
        return _answered(await answer)

    def mail(self, _frame: Frame) -> None:
        """Take the word that something has come into the inbox; in the link's thread."""
        self.plain_mailbox.look()
        self._mailbox.look()

    def _taken(self, frame: Frame) -> Any:
        self._core.acknowledged(frame)
        return _answer_of(frame)

    def _in_turn(self, head: dict[str, Any], body: bytes) -> Any:
        core = self._core
        lane = core.own_lane()
        found: list[Frame] = []
        entry = Entry(lane)

        def answer(frame: Frame) -> None:
            found.append(frame)
            core.turns.arrived(entry, core.acknowledged(frame))

        core.turns.leave(lane, entry)
        self.link.post(head, answer, body)
        core.turns.wait(lane)
        return _answer_of(found[0])


def _answer_of(frame: Frame) -> Any:
    if frame.type == "refuse":
        cores.refused(frame)
    return _answered({"value": frame.head.get("value"), "error": frame.head.get("error")})


def _answered(told: Mapping[str, Any]) -> Any:
    error = told.get("error")
    if error is None:
        return told.get("value")
    kind, message = str(error.get("type")), str(error.get("message"))
    found: type[Exception] = _ANSWERED.get(kind) or NinelivesError
    raise found(message)


def _retried(mark: Mark, fn: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    attempt = 1
    while True:
        try:
            return fn(*args, **kwargs)
        except mark.retry.on:
            if attempt > mark.retry.times:
                raise
        time.sleep(mark.retry.pause(attempt))
        attempt += 1


async def _retried_async(mark: Mark, fn: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    attempt = 1
    while True:
        try:
            async with asyncio.timeout(mark.timeout):
                return await fn(*args, **kwargs)
        except mark.retry.on:
            if attempt > mark.retry.times:
                raise
        await asyncio.sleep(mark.retry.pause(attempt))
        attempt += 1
