"""A session's end of its socket, by itself: who gets what, and in which thread."""

import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ninelives.run import link as run_link
from ninelives.run import wire
from ninelives.run.link import Link

# The link's thread ends by `SystemExit` where it would end its process.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

#: Longer than anything here takes. seconds
PATIENCE = 10.0


class Supervisor:
    """The other end of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.settimeout(PATIENCE)

    def receive(self) -> wire.Frame:
        return wire.receive(self._sock)

    def send(self, *heads: dict[str, object]) -> None:
        """Send frames that arrive together."""
        self.send_bytes(b"".join(wire.encode(head) for head in heads))

    def send_bytes(self, data: bytes) -> None:
        self._sock.sendall(data)

    def hang_up(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def ends(monkeypatch) -> Iterator[tuple[Link, Supervisor]]:
    """Both ends; to lose the session's one ends its thread here, and not the process."""
    monkeypatch.setattr(run_link, "lost", sys.exit)
    ours, theirs = socket.socketpair()
    yield Link(ours), Supervisor(theirs)
    theirs.close()
    for thread in threading.enumerate():
        if thread.name == "ninelives-link":
            thread.join(PATIENCE)
            assert not thread.is_alive()


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Do something in a thread; return it, and the list that its result will be in."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    return thread, found


@contextmanager
def alarm() -> Iterator[None]:
    """Have an alarm end what is done meanwhile, as project code may."""

    def ring(_number, _frame):
        raise TimeoutError("rang")

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(TimeoutError, match="rang"):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def unhandled(ends) -> Iterator[None]:
    """As in a process whose code handles no signals: pytest's own time-out does, and some shells ignore Ctrl-C.

    Where an answer is waited for too long, the other side hangs up instead.
    """
    _, supervisor = ends
    before = {
        number: signal.signal(number, handler)
        for number, handler in (
            (signal.SIGALRM, signal.SIG_IGN),
            (signal.SIGINT, signal.default_int_handler),
        )
    }
    too_late = threading.Timer(PATIENCE, supervisor.hang_up)
    too_late.start()
    yield
    too_late.cancel()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_threads_that_ask_at_once_get_their_own_answers(ends):
    """In whatever order these come, one by one or several together."""
    link, supervisor = ends
    link.start({})
    dice = random.Random(9)

    def ask(name):
        return [link.ask({"t": "call", "name": f"{name}.{n}"}).head["value"] for n in range(200)]

    asking = [in_thread(lambda name=name: ask(name)) for name in "abcd"]
    waiting, left = [], dict.fromkeys("abcd", 200)
    while any(left.values()):
        waiting.append(supervisor.receive())
        if len(waiting) < sum(count > 0 for count in left.values()) and dice.random() < 0.5:
            continue
        dice.shuffle(waiting)
        for frame in waiting:
            left[frame.head["name"][0]] -= 1
        supervisor.send(*({"t": "answer", "i": f.head["i"], "value": f.head["name"]} for f in waiting))
        waiting.clear()

    for (thread, found), name in zip(asking, "abcd", strict=True):
        thread.join(PATIENCE)
        assert found == [[f"{name}.{n}" for n in range(200)]]


def test_what_comes_for_others_is_handled_in_the_links_thread_and_in_order(ends):
    """Also what comes together with an answer that another thread waits for."""
    link, supervisor = ends
    heard = []

    def note(frame):
        heard.append((frame.head["n"], threading.current_thread().name))

    link.start({"stop": note})
    posted = link.post({"t": "record"}, note)
    thread, found = in_thread(lambda: link.ask({"t": "call"}))
    asked = [supervisor.receive() for _ in range(2)][1].head["i"]

    supervisor.send(
        {"t": "stop", "n": 0},
        {"t": "ack", "i": posted, "n": 1},
        {"t": "answer", "i": asked, "n": 2},
        {"t": "stop", "n": 3},
    )
    thread.join(PATIENCE)
    supervisor.send({"t": "stop", "n": 4})

    assert found[0].head["n"] == 2
    deadline = time.monotonic() + PATIENCE
    while len(heard) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert heard == [(n, "ninelives-link") for n in (0, 1, 3, 4)]


def test_timers_run_while_a_thread_waits_for_an_answer(ends):
    """One that is set meanwhile, too."""
    link, supervisor = ends
    link.start({})
    fired: list[str] = []
    thread, _ = in_thread(lambda: link.ask({"t": "call"}))
    asked = supervisor.receive().head["i"]

    done = threading.Event()
    link.at(time.monotonic() + 0.05, lambda: (fired.append("later"), done.set()))
    link.soon(lambda: fired.append("at once"))

    assert done.wait(PATIENCE)
    assert fired == ["at once", "later"]
    supervisor.send({"t": "answer", "i": asked})
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_an_error_of_a_signal_handler_ends_the_wait_and_nothing_else(ends):
    """Project code may set an alarm: nobody reads the answer that it interrupted, and all else goes on."""
    link, supervisor = ends
    link.start({})

    with alarm():
        link.ask({"t": "call", "name": "first"})
    first = supervisor.receive().head["i"]
    thread, found = in_thread(lambda: link.ask({"t": "call", "name": "second"}))
    second = supervisor.receive().head["i"]
    supervisor.send({"t": "answer", "i": first, "value": 1}, {"t": "answer", "i": second, "value": 2})
    thread.join(PATIENCE)

    assert found[0].head["value"] == 2


def test_an_alarm_while_a_frame_is_sent_is_no_broken_socket(ends):
    """`TimeoutError` is an `OSError`, too: here the supervisor does not read, and the alarm ends the send."""
    link, _ = ends

    with alarm():
        link.send({"t": "record"}, bytes(8 * 1024 * 1024))


def test_a_frame_that_an_alarm_interrupts_is_sent_to_its_end(ends):
    """Half of it would make nonsense of all that follows; what is sent next comes behind it."""
    link, supervisor = ends
    link.start({})
    body = random.Random(3).randbytes(8 * 1024 * 1024)

    with alarm():
        link.send({"t": "record", "n": 1}, body)
    thread, _ = in_thread(lambda: link.send({"t": "record", "n": 2}))
    received = [supervisor.receive() for _ in range(2)]
    thread.join(PATIENCE)

    assert [frame.head["n"] for frame in received] == [1, 2]
    assert received[0].body == body


def test_an_interrupted_frame_is_sent_though_nothing_follows(ends):
    """Nobody else would ever send its rest: the link's thread does."""
    link, supervisor = ends
    link.start({})

    with alarm():
        link.send({"t": "record"}, bytes(8 * 1024 * 1024))

    assert len(supervisor.receive().body) == 8 * 1024 * 1024


# A handler may raise where nobody can be told, as in a function that another library has the collector call.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_handlers_that_print_and_raise_at_any_time_leave_the_stream_whole(ends):
    """Each frame comes once, or, where `send` was interrupted, not at all; none in the middle of another."""
    link, supervisor = ends
    link.start({})
    rings, depth, may_raise, sent = 0, 0, False, set()

    def ring(_number, _frame):
        nonlocal rings, depth
        if depth == 3:
            return  # where sending takes longer than the alarm waits, they would go ever deeper
        depth += 1
        try:
            rings += 1
            link.send({"t": "log", "n": rings}, bytes(1000 * (rings % 3)))
            if may_raise and rings % 5 == 0:
                raise TimeoutError("rang")
        finally:
            depth -= 1

    def read():
        seen: list[tuple[str, int, int]] = []
        while not seen or seen[-1][0] != "end":
            frame = supervisor.receive()
            seen.append((frame.type, frame.head["n"], len(frame.body)))
            time.sleep(0.002)
        return seen

    thread, found = in_thread(read)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for n in range(40):
            try:
                may_raise = True
                link.send({"t": "record", "n": n}, bytes(1_500_000))
                sent.add(n)
                may_raise = False
            except TimeoutError:
                may_raise = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    link.send({"t": "end", "n": 0})
    thread.join(PATIENCE * 3)

    seen: list[tuple[str, int, int]] = found[0]
    assert rings > 20
    assert sent <= {n for name, n, _ in seen if name == "record"}
    for kind, sizes in (("record", {1_500_000}), ("log", {0, 1000, 2000})):
        numbers = [n for name, n, _ in seen if name == kind]
        assert len(numbers) == len(set(numbers))
        assert {size for name, _, size in seen if name == kind} <= sizes


@pytest.mark.usefixtures("unhandled")
def test_an_interrupt_while_an_answer_is_read_loses_nothing(ends):
    """Whoever asks reads the socket itself: what was read of an answer by then is kept."""
    link, supervisor = ends
    link.start({})

    def interrupt():
        first = supervisor.receive().head["i"]
        data = wire.encode({"t": "answer", "i": first}, bytes(1000))
        supervisor.send_bytes(data[:700])
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)
        return data[700:]

    interrupting, rest = in_thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        link.ask({"t": "call", "name": "first"})
    interrupting.join(PATIENCE)
    supervisor.send_bytes(rest[0])
    thread, found = in_thread(lambda: link.ask({"t": "call", "name": "second"}))
    supervisor.send({"t": "answer", "i": supervisor.receive().head["i"], "value": 2})
    thread.join(PATIENCE)

    assert found[0].head["value"] == 2


def test_a_signal_handler_may_ask_while_its_thread_waits_for_an_answer(ends):
    """That of project code; both get theirs, the outer one also where it came first."""
    link, supervisor = ends
    link.start({})
    inner: list[wire.Frame] = []

    def answer():
        outer = supervisor.receive().head["i"]
        os.kill(os.getpid(), signal.SIGUSR1)
        asked = supervisor.receive().head["i"]
        supervisor.send({"t": "answer", "i": outer, "value": "outer"})
        time.sleep(0.1)
        supervisor.send({"t": "answer", "i": asked, "value": "inner"})

    before = signal.signal(
        signal.SIGUSR1, lambda *_: inner.append(link.ask({"t": "call", "name": "in the handler"}))
    )
    try:
        thread, _ = in_thread(answer)
        found = link.ask({"t": "call", "name": "outside of it"})
        thread.join(PATIENCE)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert (found.head["value"], inner[0].head["value"]) == ("outer", "inner")


@pytest.mark.usefixtures("unhandled")
def test_a_large_answer_comes_in_pieces(ends):
    """It is put together, and what follows it is not lost."""
    link, supervisor = ends
    heard = threading.Event()
    link.start({"mail": lambda _frame: heard.set()})
    body = random.Random(3).randbytes(3_000_000)

    def answer():
        i = supervisor.receive().head["i"]
        data = wire.encode({"t": "answer", "i": i}, body) + wire.encode({"t": "mail"})
        for at in range(0, len(data), 400_001):
            supervisor.send_bytes(data[at : at + 400_001])

    thread, _ = in_thread(answer)
    found = link.ask({"t": "call"})
    thread.join(PATIENCE)

    assert found.body == body
    assert heard.wait(PATIENCE)
