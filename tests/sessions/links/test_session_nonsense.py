"""Project code can write anything to its session's socket: that is its own session's end, and nobody else's.

Two sessions on one link, and between their sockets and the database the worker's real relays with the server's
real link, or only the latter. One says nonsense; it is refused in words that people read, and the other one's
record is committed right after.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conversation import FakeWorker, Scheduler, Tokens, a_record, serving
from factories import a_connection
from world import World

from ninelives.run import wire
from ninelives_server.model.events import NewEvent
from ninelives_server.model.sessions import SessionState
from ninelives_server.sessions.direct import Directs
from ninelives_server.sessions.records import Put
from ninelives_server.sessions.values import Data
from ninelives_server.store import inbox
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault
from ninelives_server.worker.relay import Relay
from ninelives_server.worker.session_socket import SessionSocket

pytestmark = pytest.mark.store
PATIENCE = 30  # seconds


@pytest.fixture
async def world(database: Store, vault: Vault) -> World:
    """What a database takes differs: PostgreSQL has no NUL in texts, and numbers of four bytes."""
    return await World.made(database, vault)


class Wire:
    """A session's process: the far end of the socket that we read."""

    def __init__(
        self, sid: str, near: SessionSocket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.session_id = sid
        self.near = near
        self._reader = reader
        self._writer = writer

    def say(self, head: bytes, body: bytes = b"") -> None:
        self._writer.write(wire._HEAD.pack(4 + len(head) + len(body), len(head)) + head + body)

    async def hear(self) -> wire.Frame | None:
        """Return the next frame; `None` where the socket is closed."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await wire.read(self._reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None


class Link:
    """A worker with one link for all its sessions; `directs` where their processes speak to the server itself."""

    def __init__(self, world: World, worker: FakeWorker, directs: Directs | None) -> None:
        self.world = world
        self.worker = worker
        self.directs = directs
        self.relays: dict[str, Relay] = {}
        self.killed: dict[str, str] = {}
        self._good: Wire
        self._count = 0

    async def begin(self) -> None:
        self._good = await self.session()

    async def session(self, sid: str = "") -> Wire:
        """Begin a process of a session, of a new one where it is not named."""
        sid, epoch = (sid, await self.world.claim(sid)) if sid else await self.world.running()
        self.worker.link.adopt(sid, epoch, None)

        async def upload(value: bytes) -> str:
            raise AssertionError("nothing here is that large")

        async def download(name: str) -> bytes:
            raise AssertionError(name)

        ours, theirs = socket.socketpair()
        if self.directs is not None:
            await self.directs.adopt(sid, epoch, ours)
            near: SessionSocket = self.directs._all[sid, epoch]
        else:
            near = relay = Relay(sid, epoch, send=self.worker.link.receive, upload=upload, download=download)
            await relay.attach(ours)
            await relay.let_go()
            self.relays[sid] = relay
        made = Wire(sid, near, *await asyncio.open_unix_connection(sock=theirs))
        assert (await made.hear()).type == "go"
        return made

    async def pump(self) -> None:
        """Hand the server's frames to the sessions' relays, as a worker does."""
        while True:
            data = await self.worker.link.outgoing()
            for frame in wire.decode_all(data):
                relay = self.relays.get(str(frame.head.get("sid")))
                if frame.type == "kill":
                    self.killed[frame.head["sid"]] = frame.head["why"]
                if relay is not None:
                    relay.deliver(frame, wire.encode(frame.head, frame.body))

    async def carries_on(self) -> None:
        """See that another session's record is committed over the same link."""
        self._good.say(told(head_of("record", n=self._count, i=self._count + 1)), b"value")
        self._count += 1
        answer = await self._good.hear()
        assert answer is not None
        assert answer.type == "ack", answer
        assert not self.worker.link.is_closed


@pytest.fixture(params=["relayed", "direct"])
async def link(world: World, request: pytest.FixtureRequest) -> AsyncIterator[Link]:
    async with serving(world, Scheduler(), Tokens(), silent=3600) as links:
        worker = FakeWorker(links)
        await worker.hello({"slots": 10_000})
        link = Link(world, worker, worker.link.open_directly() if request.param == "direct" else None)
        await link.begin()
        pump = asyncio.create_task(link.pump())
        yield link
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)
        for relay in link.relays.values():
            relay.close()
        if link.directs is not None:
            link.directs.close()


def head_of(kind: str, /, **changes: Any) -> dict[str, Any]:
    """Return a frame's head as a session says it, with changes; `...` leaves a field out."""
    usual: dict[str, dict[str, Any]] = {
        "record": {k: v for k, v in a_record("", 0)[0].items() if k not in {"sid", "ep"}},
        "call": {
            "t": "call", "i": 1, "key": {"strand": "0", "n": 0}, "name": "store.get", "args": {"key": "k"},
            "digest": "ab" * 32, "start": 1795435200.25, "preview": {"args": []},
        },
        "park": {"t": "park", "i": 1, "until": 4102444800.5, "awaits": ["signal:a"]},
        "waiting": {"t": "waiting", "is_waiting": True},
        "done": {"t": "done", "i": 1, "state": "completed", "error": None},
    }  # fmt: skip
    return {name: value for name, value in {**usual[kind], **changes}.items() if value is not ...}


def call(name: str, /, **args: Any) -> dict[str, Any]:
    return head_of("call", name=name, args=args)


HALF, NUL, HUGE = "half \ud83d", "a\0b", 1 << 40
AN_ERROR = {"type": "E", "message": "m", "traceback": "", "seq": 1}
#: What nobody can read: each ends its session.
UNREADABLE: list[tuple[dict[str, Any], bytes]] = [
    (head, b"value")
    for head in (
        *(
            head_of("record", **{name: value})
            for name in ("track", "strand", "n", "kind", "name", "status")
            for value in (..., None, [], {"a": 1}, NUL)
        ),
        *(head_of("record", name=value) for value in (5, HALF)),
        *(head_of("record", strand=value) for value in (0, "", "0" * 101, NUL, HALF, "0 0")),
        *(head_of("record", n=value) for value in (-1, HUGE, 1.5, True, "0")),
        *(head_of("record", attempt=value) for value in (-1, HUGE, 1.5, "x", [1])),
        *(head_of("record", digest=value) for value in ("zz", "ab", "ab" * 33, 7, ["ab"], NUL)),
        *(
            head_of("record", **{name: value})
            for name in ("start", "end")
            for value in (1e300, -1e300, 1e12, float("nan"), float("inf"), True, [], {}, NUL, HALF, "soon")
        ),
        *(head_of("record", start=value) for value in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")),
        *(head_of("record", preview=value) for value in ([], "x", 1, {"a": HALF}, {"a": float("nan")}, {HALF: 1})),
        *(head_of(kind, i=...) for kind in ("record", "call", "park", "done")),
        *(head_of("call", key=value) for value in ([], "0", {}, {"strand": "0"}, {"n": 0}, 0)),
        *(head_of("call", key={"strand": "0", "n": value}) for value in (-1, HUGE, None, "0", [])),
        *(head_of("call", key={"strand": value, "n": 0}) for value in (0, None, NUL, HALF, [])),
        *(head_of("call", name=value) for value in (..., None, 5, [], NUL, HALF)),
        *(head_of("call", args=value) for value in ("x", [1], 7, {"key": HALF}, {HALF: 1}, {"key": float("inf")})),
        *(head_of("call", digest=value) for value in ("zz", 7)),
        *(head_of("call", start=value) for value in (1e300, [])),
        *(head_of("call", preview=value) for value in ([], {"a": HALF})),
        *(head_of("call", name="token", **changes) for changes in ({"i": ...}, {"args": [1]}, {"args": "x"})),
        *(call("give_back", **args) for args in ({}, {"strand": "0"}, {"strand": "0", "n": HUGE}, {"strand": 0, "n": 0})),
        *(head_of("park", until=value) for value in (1e300, 1e12, float("nan"), "soon", [], True, {}, HALF)),
        *(head_of("park", awaits=value) for value in ("x", 5, {"a": 1}, [1], [None], [NUL], [HALF], [["a"]])),
        head_of("waiting", is_waiting=...),
        *(head_of("done", state=value) for value in (..., None, "running", [], {}, 5, HALF)),
        *(head_of("done", state="error", error=value) for value in ("x", [1], 5, True)),
        *(
            head_of("done", state="error", error={**AN_ERROR, name: value})
            for name, value in (
                ("type", 5), ("message", None), ("message", HALF), ("traceback", []), ("seq", "x"), ("seq", HUGE),
                ("seq", float("nan")),
            )
        ),
        *(head_of("done", restart=value) for value in ("x", [1], 5, {"a": HALF}, {"a": float("inf")})),
        head_of("done"),  # its result is no JSON
    )
] + [
    (head_of("done"), result)
    for result in (b"\xff", b"NaN", b"1e999", b'"\\ud83d"', b"[" * 5000 + b"]" * 5000, b"[" * 300 + b"]" * 300)
]  # fmt: skip
#: What the worker itself does not pass on.
UNPASSED: list[tuple[bytes, bytes]] = [
    (head, b"")
    for head in (
        b"",
        b"[]",
        b"{",
        b'{"t":5}',
        b'{"t":["record"]}',
        b"\xff\xfe",
        b'{"t":"record"}\xff',
        b'{"t":"begin"}',
        b'{"t":"died","signal":9}',
        b'{"t":"hello" "worker_id"}',
        b'{"t":"runs","sessions":[]}',
        b'{"t":"claim","sid":"ses_1"}',
        b'{"t":"record","sid":"ses_1"}',
        b'{"t":"record","s\\u0069d":"ses_1"}',
        b'{"t":"record","ep":7}',
        json.dumps(head_of("record", blob="ab" * 32)).encode(),
        json.dumps(head_of("record", i="odd")).encode(),
        json.dumps(head_of("record", i=None)).encode(),
        json.dumps(head_of("record", i=True)).encode(),
        json.dumps(head_of("record", i=1.0)).encode(),
        b'{"t":"record","i":' + b"9" * 5000 + b"}",
        b'{"t":"record","preview":' + b"[" * 101 + b"]" * 101 + b"}",
        b'{"t":"record","name":"' + b"x" * 600_000 + b'"}',
    )
]
#: What a call is answered by an error: its code goes on, if it likes.
ANSWERED: list[dict[str, Any]] = [
    *(call("store.get", key=value) for value in (5, None, [], {}, "", NUL, "k" * 501)),
    call("store.get"),
    *(call("store.set", key="k", **args) for args in ({},)),
    *(call("store.add", key="k", value=value) for value in ("x", None, [], True)),
    call("store.check_and_set", key="k"),
    *(call("store.publish", key=value) for value in (5, NUL, "no such key")),
    *(call("outcome", value=value) for value in ({"status_code": 1, "headers": [], "more": 1}, 5)),
    *(call("outcome", value={}, event_id=value) for value in (5, NUL, ["evt"], {"a": 1}, "evt_none")),
    call("outcome"),
    *(call("start", loc=value) for value in (5, None, [], NUL, "none.py:f")),
    *(call("start", loc="main.py:child", data=value) for value in ("x", [1], 5)),
    *(call("start", loc="main.py:child", memo=value) for value in ("x", [1], 5)),
    *(call("start", loc="main.py:child", project=value) for value in (5, NUL, ["x"], {"a": 1})),
    *(call("subscribe", source=value) for value in (5, None, [], NUL)),
    *(call("subscribe", source="crm", filter=value) for value in (5, NUL, [1])),
    *(call("unsubscribe", id=value) for value in (5, None, NUL, ["sub_1"])),
    *(call(name, **{of: value}) for name, of in (("next_event", "ids"), ("next_signal", "names"))
      for value in (5, None, [], "a", [5], [NUL], [""], [["a"]], ["a"] * 1001)),
    *(call("next_signal", names=["a"], timeout=value) for value in ("x", [], {}, True)),
    *(call("signal", session_id=value, name="a") for value in (5, None, NUL, [], "ses_1")),
    *(call("signal", session_id="ses_1", name=value) for value in (5, None, NUL, "", "n" * 201)),
    *(call(name) for name in ("odd", "", "record", "x" * 1000)),
    head_of("call", name="token", args={}),
    head_of("call", name="token", args={"connection": ["x"], "refused": {"a": 1}}),
]  # fmt: skip


def told(head: dict[str, Any]) -> bytes:
    """Return a head as Python's JSON has it, which takes what is no JSON."""
    return json.dumps(head).encode()


def shown(case: object) -> str:
    text = repr(case)
    return text if len(text) < 90 else f"{text[:60]}…{text[-25:]}"


async def error_of(world: World, sid: str) -> dict[str, Any]:
    """Wait for the end of a session; return its error."""
    async with asyncio.timeout(PATIENCE):
        while True:
            detail = await world.sessions.get(world.actor, sid)
            if detail.session.state.is_terminal:
                assert detail.session.state is SessionState.ERROR
                assert detail.error is not None
                return detail.error
            await asyncio.sleep(0.01)


async def test_what_nobody_can_read_ends_its_session_only(world: World, link: Link):
    """Its error says what is wrong with it, and what to look for."""
    for head, body in UNREADABLE:
        bad = await link.session()

        bad.say(told(head), body)

        await link.carries_on()
        assert not bad.near.broken, shown(head)
        error = await error_of(world, bad.session_id)
        assert error["type"] == "BrokenFrame", (shown(head), error)
        assert f"a frame {head['t']!r}: " in error["message"], shown(head)
        assert "has written to it" in error["message"]
        assert link.killed[bad.session_id] == "nonsense"


async def test_what_is_none_of_a_sessions_ends_its_process_only(link: Link):
    """The worker does not pass it on; what it says of it becomes the session's error."""
    for head, body in UNPASSED:
        bad = await link.session()

        bad.say(head, body)

        await link.carries_on()
        assert await bad.hear() is None
        assert bad.near.broken.startswith("it sent a frame"), shown(head)


async def test_a_call_that_makes_no_sense_is_answered_by_an_error(world: World, link: Link):
    """The code gets it where it made the call, and the session is as it was."""
    for head in ANSWERED:
        bad = await link.session()

        bad.say(told(head))

        await link.carries_on()
        answer = await bad.hear()
        assert answer is not None
        assert answer.type == "answer", (shown(head), answer)
        assert isinstance(answer.head["error"]["message"], str), shown(head)
        assert not (await world.state(bad.session_id)).is_terminal


@pytest.mark.parametrize("value", [b'{"value": 5', b"[]", b"\xff", b'"x"', b"NaN"])
async def test_a_record_that_stands_where_a_call_is_made_is_refused(link: Link, value: bytes):
    """What is there was not written by the server, so it is no answer."""
    bad = await link.session()
    bad.say(told(head_of("record", name="store.get")), value)
    assert (await bad.hear()).type == "ack"

    bad.say(told(head_of("call", i=2)))

    await link.carries_on()
    answer = await bad.hear()
    assert (answer.type, answer.head["reason"]) == ("refuse", "different")


@pytest.mark.parametrize(
    "found",
    [
        5,
        {},
        {"name": NUL, "payload": 1},
        {"name": 5, "payload": 1},
        {"name": HALF, "payload": 1},
        {"name": "n" * 1000, "payload": 1},
        {"subscription": "sub_1"},
        {"subscription": NUL, "event_id": "evt_1", "event_type": "x"},
        {"subscription": "sub_1", "event_id": ["evt_1"], "event_type": "x"},
        {"subscription": "sub_1", "event_id": "evt_1", "event_type": "x" * 1000},
    ],
)
async def test_what_no_wait_has_found_is_not_given_back(world: World, link: Link, found: object):
    """Nothing comes into the inbox, and the session goes on."""
    bad = await link.session()
    bad.say(told(head_of("record", name="next_event", kind="wait")), json.dumps({"value": found}).encode())
    assert (await bad.hear()).type == "ack"

    bad.say(told(head_of("call", i=2, key=None, name="give_back", args={"strand": "0", "n": 0})))

    await link.carries_on()
    assert (await bad.hear()).type == "answer"
    assert await world.store.read(lambda tx: inbox.unread(tx, bad.session_id)) == []


async def test_an_event_of_another_project_is_not_read(world: World, link: Link):
    """A session that claims to have been given it gets nothing."""
    other = await World.made(world.store, world.vault, name="other")
    event = NewEvent(project_id=other.project.id, source_key="k", event_type="x", data={"a": 1})
    recorded = await world.store.write(lambda tx: other.ingest.record_in(tx, [event]))
    connection = await a_connection(world.store, world.project, name="crm")
    bad = await link.session()
    bad.say(told(call("subscribe", source="crm")))
    topic = (await bad.hear()).head["value"]
    await world.store.write(
        lambda tx: inbox.put(
            tx,
            inbox.new_id(),
            bad.session_id,
            kind="event",
            name="x",
            topic=topic,
            event_id=str(recorded[0].event_id),
        )
    )

    wait = head_of("call", i=2, key={"strand": "0", "n": 1}, name="next_event")
    bad.say(told({**wait, "args": {"ids": [topic], "timeout": 0}}))

    answer = await bad.hear()
    while answer.type == "mail":
        answer = await bad.hear()
    assert (answer.type, answer.head["value"], answer.head["error"]) == ("answer", None, None), connection
    await link.carries_on()


async def test_half_of_an_emoji_reaches_a_session(world: World, link: Link):
    """The store takes what JSON can say, from people too; no answer may break the link."""
    bad = await link.session()
    data = Data(vault=world.vault)
    await world.store.write(lambda tx: data.save(tx, world.project.id, "k", {HALF: [HALF]}))

    bad.say(told(call("store.get", key="k")))

    answer = await bad.hear()
    assert answer.head["value"] == {HALF: [HALF]}
    await link.carries_on()


async def test_who_says_too_often_whether_it_waits_is_heard_now_and_then(world: World, link: Link):
    """Nobody answers that, so a process could fill the link; its last word counts."""
    bad = await link.session()
    passed, forward = [], bad.near._forward

    def counted(*frame: Any) -> bytes:
        passed.append(frame)
        return forward(*frame)

    bad.near._forward = counted
    for count in range(1000):
        bad.say(told(head_of("waiting", is_waiting=count % 2 == 0)))
    bad.say(told(head_of("waiting", is_waiting=True)))

    await link.carries_on()
    async with asyncio.timeout(PATIENCE):
        while await world.state(bad.session_id) is not SessionState.WAITING:
            await asyncio.sleep(0.01)
    assert len(passed) < 100


async def test_a_number_of_a_frame_is_used_once(link: Link):
    """Of two answers with one number the second would be for nobody, and who waits for it would for ever."""
    bad = await link.session()

    for n in range(2):
        bad.say(told(head_of("record", n=n)), b"value")

    await link.carries_on()
    assert bad.near.broken == "it used the number 1 for two frames"


async def test_what_breaks_us_counts_as_a_death(world: World, link: Link, monkeypatch: pytest.MonkeyPatch):
    """It is tried again, and after five times the session says why it ended."""
    real = world.journal.commit

    async def picky(ops):
        if any(isinstance(op, Put) and op.session_id == bad.session_id for op in ops):
            raise LookupError("a defect")
        return await real(ops)

    bad = await link.session()
    monkeypatch.setattr(world.journal, "commit", picky)

    for death in range(1, 6):
        bad.say(told(head_of("record")), b"value")
        await link.carries_on()
        async with asyncio.timeout(PATIENCE):
            while (detail := await world.sessions.get(world.actor, bad.session_id)).session.worker_id:
                await asyncio.sleep(0.01)
        if death < 5:
            assert not detail.session.state.is_terminal
            bad = await link.session(bad.session_id)

    assert detail.error["message"] == (
        "its process died 5 times in a row before its first step: the server could not store what it said; "
        "the server's log says why"
    )
