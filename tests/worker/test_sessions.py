"""Sessions of a real supervisor over a real link, in real processes; only server and runtime are stand-ins."""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from ninelives_server.worker.sessions import Stopped
from tests.worker.fake_server import FakeServer

#: Ends only from outside.
FOREVER = "import time\nsession.step('ready')\ntime.sleep(600)"


async def test_a_session_runs_to_its_end(bench, server: FakeServer) -> None:
    """Claim, build, environment, fork, records and the last word: the whole way once."""
    row = server.add("ses_1", "session.step('a', b'1'); session.step('b', b'2'); result = 42")

    outcome = await bench.run("ses_1")

    assert (outcome.name, row.state, row.names(), row.result) == ("finished", "completed", ["a", "b"], b"42")
    assert [frame.body for frame in row.journal] == [b"1", b"2"]


async def test_a_worker_says_that_it_makes_an_environment_and_why_it_cannot(
    bench, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is told before and after; the session's end has uv's words."""
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    row = server.add("ses_1", "result = 42", ["nowhere==1.0"])

    await bench.run("ses_1")

    told = [frame for frame in row.frames if frame.type == "preparing"]
    assert [frame.type for frame in row.frames[: len(told)]] == ["preparing"] * len(told)
    assert (told[0].head["packages"], told[-1].head["packages"]) == (1, 0)
    assert "nowhere==1.0" in told[-1].body.decode()
    assert row.frames[-1].type in {"died", "done"}
    said = str(row.frames[-1].head)
    assert "the environment cannot be made" in said
    assert "nowhere==1.0" in said


async def test_of_the_sessions_that_wait_for_an_environment_one_says_what_uv_says(
    bench, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst of them must not send the same log many times; each says that it waits."""
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    rows = [server.add(f"ses_{k}", "result = 42", ["nowhere==1.0"]) for k in (1, 2)]

    await asyncio.gather(bench.run("ses_1"), bench.run("ses_2"))

    told = [[frame for frame in row.frames if frame.type == "preparing"] for row in rows]
    bodies = sorted("".join(frame.body.decode() for frame in frames) for frames in told)
    assert [frames[0].head["packages"] for frames in told] == [1, 1]
    assert [frames[-1].head["packages"] for frames in told] == [0, 0]
    assert "nowhere==1.0" in bodies[1]


async def test_a_session_that_nobody_needs_to_run_is_not_started(bench, server: FakeServer) -> None:
    """Temporal is a hint: for a session that is unknown or over, the turn ends at once."""
    row = server.add("ses_1", "pass")
    row.state = "completed"

    outcomes = [(await bench.run(sid)).name for sid in ("ses_1", "ses_2")]

    assert outcomes == ["not_claimed", "not_claimed"]


async def test_sessions_run_side_by_side(bench, server: FakeServer) -> None:
    """Twenty sessions of one environment share a zygote and nothing else."""
    rows = [
        server.add(f"ses_{k}", f"[session.step(str(n)) for n in range(20)]; result = {k}") for k in range(20)
    ]

    await asyncio.gather(*(bench.run(row.sid) for row in rows))

    assert [row.result for row in rows] == [str(k).encode() for k in range(20)]
    assert all(row.names() == [str(n) for n in range(20)] for row in rows)
    assert len(bench.zygotes._warm) == 1


async def test_a_session_is_given_its_journal(bench, server: FakeServer) -> None:
    """The next process of a session finds what the former ones wrote down, in order, before it goes on."""
    row = server.add(
        "ses_1",
        "import os\nfor n in range(5):\n    session.step(str(n))\n    if n == 2 and not session.past: os._exit(3)",
    )
    await bench.run("ses_1")

    outcome = await bench.run("ses_1")

    assert outcome.name == "finished"
    assert row.names() == ["0", "1", "2", "3", "4"]
    assert [frame.head["n"] for frame in row.frames if frame.type == "record"] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("outage", [[503, 502, 503], [0], [500, 503, 0, 0]])
async def test_an_outage_while_the_journal_is_read_is_no_death(
    bench, server: FakeServer, outage: list[int]
) -> None:
    """
    The database may be away when a session is started again: it waits, reads on where the journal broke off, and
    nothing is held against the session.
    """
    code = (
        "import os\nfor n in range(40):\n    session.step(str(n), b'v' * 1000)\n"
        "    if n == 20 and not session.past: os._exit(3)"
    )
    row = server.add("ses_1", code)
    await bench.run("ses_1")
    server.outage = outage

    outcome = await bench.run("ses_1")

    assert (outcome.name, row.state, len(row.deaths)) == ("finished", "completed", 1)
    assert [frame.head["n"] for frame in row.frames if frame.type == "record"] == list(range(40))
    assert server.outage == []
    assert len(server.journal_reads) > 1
    assert server.journal_reads == sorted(server.journal_reads)


async def test_what_was_read_before_the_journal_broke_off_is_not_asked_for_again(
    bench, server: FakeServer
) -> None:
    """A long journal comes to its end, even where no read lasts that long."""
    code = "import os\nfor n in range(40):\n    session.step(str(n), b'v' * 1000)\nif not session.past: os._exit(3)"
    row = server.add("ses_1", code)
    await bench.run("ses_1")
    server.outage = [0, 0]

    await bench.run("ses_1")

    assert row.state == "completed"
    first, second, third = server.journal_reads
    assert 0 == first < second < third < 40


async def test_an_outage_before_the_first_start_is_no_death(bench, server: FakeServer) -> None:
    """The build is fetched when the server can give it."""
    row = server.add("ses_1", "result = 1")
    server.outage = [503, 503]

    outcome = await bench.run("ses_1")

    assert (outcome.name, row.deaths) == ("finished", [])


async def test_an_outage_while_a_large_value_is_stored_is_no_death(bench, server: FakeServer) -> None:
    """The process waits for the acknowledgement of its step, as it does for any other."""
    row = server.add("ses_1", "session.step('ready')\nsession.step('big', b'x' * 3_000_000); result = 1")
    server.outage = [503, 503, 500]  # the first is for the build

    outcome = await bench.run("ses_1")

    assert (outcome.name, row.deaths, server.outage) == ("finished", [], [])


@pytest.mark.parametrize("patience", [0.4])
async def test_a_session_whose_build_cannot_be_fetched_is_given_up_with_the_link(
    bench, server: FakeServer
) -> None:
    """It runs elsewhere by then; here it must not hold a slot, and it has not died."""
    row = server.add("ses_1", "result = 1")
    server.outage = [503] * 1000
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.epoch == 1)

    await server.close()

    with pytest.raises(Stopped, match="no link"):
        await turn
    assert row.deaths == []
    await server.open()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os; os._exit(3)", (None, 3)),
        ("import os; os.kill(os.getpid(), 9)", (9, None)),
        ("import os; os.abort()", (6, None)),
        ("import ctypes; ctypes.string_at(0)", (11, None)),
        ("raise SystemExit(4)", (None, 4)),
    ],
)
async def test_a_process_that_dies_is_reported(bench, server: FakeServer, code: str, expected: tuple) -> None:
    """The server learns how it died, and says when it is to be tried again."""
    row = server.add("ses_1", f"session.step('a')\n{code}")

    outcome = await bench.run("ses_1")

    assert (outcome.name, outcome.delay) == ("died", 0.25)
    assert [(death["signal"], death["exit_code"]) for death in row.deaths] == [expected]
    assert row.names() == ["a"]


async def test_the_last_lines_of_a_dead_process_are_told_without_secrets(bench, server: FakeServer) -> None:
    """What it wrote explains its death; secrets that it was given are not in it."""
    code = "import os, sys\nprint('x' * 50_000)\nprint('token is sesame-42', file=sys.stderr, flush=True)\nos.abort()"
    row = server.add("ses_1", code, secrets=["sesame-42"])

    await bench.run("ses_1")

    told = row.deaths[0]["stderr"]
    assert told.endswith("token is ***\n")
    assert len(told) <= 8192 + 100


async def test_killing_the_zygote_ends_its_sessions_and_a_new_one_takes_over(
    bench, server: FakeServer
) -> None:
    """A zygote takes its sessions with it; the next session gets another zygote."""
    row = server.add("ses_1", FOREVER)
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)
    [zygote] = bench.zygotes._warm.values()

    os.kill(zygote.pid, signal.SIGKILL)
    outcome = await turn

    assert outcome.name == "died"
    assert row.deaths[0]["signal"] == 9
    server.add("ses_2", "result = 2")
    assert (await bench.run("ses_2")).name == "finished"


async def test_an_environment_that_does_not_start_is_told_in_its_own_words(bench, server: FakeServer) -> None:
    """A package may break every interpreter of its environment; its author must see how."""
    server.add("ses_1", "pass")
    await bench.run("ses_1")
    [packages] = (bench.data_dir / "environments").glob("*/lib/python*/site-packages")
    (packages / "broken.pth").write_text(
        "import sys; print('this package is broken', flush=True); sys.exit(3)\n"
    )
    row = server.add("ses_2", "pass", hashseed="1")

    outcome = await bench.run("ses_2")

    assert outcome.name == "died"
    assert "this package is broken" in row.deaths[0]["reason"]


async def test_a_fenced_session_is_killed_with_all_that_it_started(
    bench, server: FakeServer, tmp_path: Path
) -> None:
    """After `kill` no process of the session is left, not even one that left its group and its parents."""
    code = (
        "import os, subprocess, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.execv('/bin/sleep', ['sleep', '4242.25'])\n"
        "    os._exit(0)\n"
        "subprocess.Popen(['/bin/sleep', '4242.25'])\n" + FOREVER
    )
    row = server.add("ses_1", code)
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)
    before = await _sleepers(2)

    await server.tell("ses_1", "kill", why="fenced")

    with pytest.raises(Stopped, match="fenced"):
        await turn
    assert before == 2
    assert await _sleepers(0) == 0
    assert row.deaths == []


async def test_what_was_not_answered_is_sent_again_over_a_new_link(bench, server: FakeServer) -> None:
    """A link that breaks between commit and answer costs nothing: the record is there once, the session goes on."""
    row = server.add("ses_1", "session.step('a'); session.step('b'); result = 1")
    server.is_mute = False
    turn = asyncio.create_task(_until_mute(server, bench, row))
    await server.until(lambda: row.journal)

    await server.cut()
    server.is_mute = False
    outcome = await turn

    assert outcome.name == "finished"
    assert row.names() == ["a", "b"]
    assert server.hellos[-1]["sessions"] == [{"sid": "ses_1", "ep": 1}]
    assert [f.head["n"] for f in row.frames if f.type == "record"] == [0, 0, 1]


async def _until_mute(server: FakeServer, bench, row):
    turn = asyncio.create_task(bench.run(row.sid))
    await server.until(lambda: row.epoch == 1)
    await asyncio.sleep(0)
    server.is_mute = True
    return await turn


async def test_a_server_that_starts_again_finds_its_sessions_running(bench, server: FakeServer) -> None:
    """Sessions outlive their server: after a restart on the same address they go on where they were."""
    code = "session.step('a')\nwhile True:\n    try:\n        open(__import__('os').environ['FLAG']); break\n    except OSError: __import__('time').sleep(0.02)\nsession.step('b')"
    flag = Path("/tmp") / f"ninelives-flag-{os.getpid()}-{time.monotonic_ns()}"
    row = server.add("ses_1", code, env={"FLAG": str(flag)})
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)
    await server.close()
    flag.touch()

    await server.open()
    outcome = await turn
    flag.unlink()

    assert (outcome.name, row.names(), row.epoch) == ("finished", ["a", "b"], 1)


@pytest.mark.parametrize("patience", [0.4])
async def test_a_worker_without_a_link_kills_its_sessions(bench, server: FakeServer) -> None:
    """By then they run elsewhere: going on would do things twice."""
    row = server.add("ses_1", FOREVER)
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)

    await server.close()

    with pytest.raises(Stopped, match="no link"):
        await turn
    await server.open()


async def test_large_values_travel_ahead_and_keep_their_place(bench, server: FakeServer) -> None:
    """A value over the limit is stored over HTTP; what was sent after it is not committed before it."""
    row = server.add(
        "ses_1",
        "big = b'x' * 3_000_000\n"
        "for n in range(6):\n"
        "    session.i += 1\n"
        "    body = big if n % 2 else b'small'\n"
        "    session.send('record', body, i=session.i, track='call', strand='0', n=n, name=str(n), digest='', status='ok')\n",
    )

    outcome = await bench.run("ses_1")

    assert outcome.name == "finished"
    assert row.names() == ["0", "1", "2", "3", "4", "5"]
    assert [len(frame.body) for frame in row.journal] == [5, 3_000_000] * 3
    assert all("blob" in frame.head for frame in row.frames if frame.type == "record" and frame.head["n"] % 2)


async def test_a_process_far_ahead_of_its_answers_is_not_read(bench, server: FakeServer) -> None:
    """At most 256 frames are under way; the process waits, and goes on when they are answered."""
    code = (
        "for n in range(2000):\n"
        "    session.i += 1\n"
        "    session.send('record', b'', i=session.i, track='call', strand='0', n=n, name=str(n), digest='', status='ok')\n"
    )
    row = server.add("ses_1", code)
    turn = asyncio.create_task(_until_mute(server, bench, row))
    await server.until(lambda: len(row.journal) >= 256)
    await asyncio.sleep(0.3)  # time in which a worker without a limit would go on
    under_way = len(row.journal)

    server.is_mute = False
    await server.cut()
    await turn

    assert 256 <= under_way < 600  # one read of the socket may hold a few hundred small frames
    assert len(row.journal) == 2000


async def test_a_session_that_parks_leaves_no_process(bench, server: FakeServer) -> None:
    """Its turn ends with the time at which it is due; the next turn is a new process with the same journal."""
    code = "session.step('a')\nif not session.past:\n    session.ask('park', until='2031-01-01T00:00:00Z'); raise SystemExit(0)\nsession.step('b')"
    row = server.add("ses_1", code)

    first = await bench.run("ses_1")
    [zygote] = bench.zygotes._warm.values()
    running = zygote.session_count
    second = await bench.run("ses_1")

    assert (first.name, first.until, running) == ("parked", "2031-01-01T00:00:00Z", 0)
    assert (second.name, row.names(), row.epoch) == ("finished", ["a", "b"], 2)


async def test_a_session_that_is_told_to_stay_goes_on(bench, server: FakeServer) -> None:
    """Where something arrived in the same moment, the process is not ended."""
    server.stays = True
    row = server.add("ses_1", "answer = session.ask('park', until=None).type\nresult = answer")

    outcome = await bench.run("ses_1")

    assert (outcome.name, row.result, row.epoch) == ("finished", b'"stay"', 1)


async def test_calls_are_answered_by_the_server(bench, server: FakeServer) -> None:
    """The supervisor passes on questions and answers and looks into neither."""
    row = server.add(
        "ses_1",
        "result = session.ask('call', key=None, name='echo', args={'x': 'ä'}, digest='').head['value']",
    )

    await bench.run("ses_1")

    assert row.result == b'{"x": "\\u00e4"}'


@pytest.mark.parametrize(
    "nonsense",
    [
        "session.send('record', i=1, sid='ses_other', ep=1)",
        "session.send('record', i=1, blob='0' * 64)",
        "session.send('died', signal=None)",
        "session.send('claim', activity_id='x')",
        "session.send('record', i='one')",
        "session._sock.sendall(bytes([0, 0, 0, 12, 0, 0, 0, 8]) + b' {}     ')",
        "import struct; text = '{\"t\": \"done\"}'.encode('utf-16-le'); session._sock.sendall(struct.pack('>II', 4 + len(text), len(text)) + text)",
        "session._sock.sendall(b'\\xff' * 64)",
        "import struct; text = b'{\"t\":\"record\",\"i\":1,\"preview\":' + b'[' * 900 + b']' * 900 + b'}'; session._sock.sendall(struct.pack('>II', 4 + len(text), len(text)) + text)",
    ],
)
async def test_a_session_that_writes_nonsense_harms_only_itself(
    bench, server: FakeServer, nonsense: str
) -> None:
    """Project code can write to its socket: it neither speaks for others nor breaks their link."""
    other = server.add("ses_other", FOREVER)
    turn = asyncio.create_task(bench.run("ses_other"))
    await server.until(lambda: other.journal)
    row = server.add("ses_1", f"import time\n{nonsense}\ntime.sleep(600)")

    outcome = await bench.run("ses_1")

    assert outcome.name == "died"
    assert "it sent a frame" in row.deaths[0]["reason"]
    assert len(other.journal) == 1
    assert (len(server.hellos), turn.done()) == (1, False)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn


async def test_a_stop_reaches_the_process(bench, server: FakeServer) -> None:
    """`stop` is forwarded; what to do about it is the session's business."""
    row = server.add(
        "ses_1",
        "session.step('ready')\nframe = session.receive()\nresult = [frame.type, frame.head['reason']]",
    )
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)

    await server.tell("ses_1", "stop", reason="by hand")
    await turn

    assert row.result == b'["stop", "by hand"]'


async def test_a_stop_that_comes_with_the_claim_waits_until_the_process_listens(
    bench, server: FakeServer
) -> None:
    """A session is parked and asked to stop: its process must first have its journal."""
    code = "session.step('a')\nif not session.past: raise SystemExit(1)\nresult = session.receive().type"
    row = server.add("ses_1", code)
    await bench.run("ses_1")
    row.stop = True

    outcome = await bench.run("ses_1")

    assert (outcome.name, row.result) == ("finished", b'"stop"')


async def test_stopping_a_worker_lets_the_step_in_hand_end(bench, server: FakeServer) -> None:
    """Its record is committed; nothing after it is begun, and the server learns why the process is gone."""
    row = server.add(
        "ses_1",
        "import time\nsession.step('a')\nsession.send('waiting', is_waiting=False)\ntime.sleep(1.0)\nsession.step('in hand')\nsession.step('next')\ntime.sleep(600)",
    )
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: len(row.frames) == 2)

    await bench.supervisor.stop()

    with pytest.raises(Stopped):
        await turn
    assert row.names() == ["a", "in hand"]
    assert [death["reason"] for death in row.deaths] == ["shutdown"]


async def test_stopping_a_worker_does_not_wait_for_waits(bench, server: FakeServer) -> None:
    """A session whose strands all wait has no step in hand."""
    row = server.add("ses_1", "session.send('waiting', is_waiting=True)\n" + FOREVER)
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)
    before = time.monotonic()

    await bench.supervisor.stop()

    with pytest.raises(Stopped):
        await turn
    assert time.monotonic() - before < 5


async def test_a_step_that_does_not_end_is_killed_after_the_grace(bench, server: FakeServer) -> None:
    """A worker stops in bounded time."""
    row = server.add("ses_1", FOREVER)
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)

    await bench.supervisor.stop(grace=0.3)

    with pytest.raises(Stopped):
        await turn


async def test_a_stopping_worker_takes_no_session(bench, server: FakeServer) -> None:
    """What Temporal hands out meanwhile goes elsewhere."""
    server.add("ses_1", "pass")
    await bench.supervisor.stop()

    with pytest.raises(Stopped):
        await bench.run("ses_1")


async def test_a_cancelled_turn_kills_its_process(bench, server: FakeServer) -> None:
    """Temporal's cancellation, or its word that the turn was given up, leaves no process."""
    row = server.add("ses_1", FOREVER)
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)

    turn.cancel()

    with pytest.raises(asyncio.CancelledError):
        await turn
    assert bench.supervisor.session_ids == []


async def test_a_session_works_in_a_copy_of_its_build_that_goes_with_it(bench, server: FakeServer) -> None:
    """It may change its files; the build stays as it is and the next process starts from it again."""
    code = (
        "import os\n"
        "seen = open('main.py').read().count('changed!')\n"
        "open('main.py', 'a').write('# changed!')\n"
        "open('new.txt', 'w').write('x')\n"
        "result = [seen, sorted(os.listdir('.'))]\n"
    )
    rows = [server.add("ses_1", code), server.add("ses_2", code)]

    await bench.run("ses_1")
    await bench.run("ses_2")

    assert [row.result for row in rows] == [b'[2, ["main.py", "new.txt"]]'] * 2


async def test_frames_of_many_sessions_share_messages(bench, server: FakeServer) -> None:
    """What is ready together goes in one WebSocket message, so that the server can commit it together."""
    code = "for n in range(50): session.step(str(n))"
    rows = [server.add(f"ses_{k}", code) for k in range(10)]

    await asyncio.gather(*(bench.run(row.sid) for row in rows))

    assert sum(len(row.frames) for row in rows) == 510
    assert server.messages < 500


@pytest.mark.parametrize("mode", ["landlock", "none"])
async def test_sessions_run_where_namespaces_are_refused(bench, server: FakeServer) -> None:
    """The other ways of confining have the same dialogue, a directory of their own and no process left."""
    row = server.add(
        "ses_1",
        "import os, subprocess\nopen('x', 'w').write('1')\nsubprocess.Popen(['/bin/sleep', '4242.75'], start_new_session=True)\nresult = os.path.basename(os.getcwd())",
    )

    outcome = await bench.run("ses_1")

    assert (outcome.name, row.result) == ("finished", b'"session"')
    assert await _sleepers(0, b"4242.75") == 0
    assert list((bench.data_dir / "work").iterdir()) == []


@pytest.mark.parametrize("mode", ["mount_namespace", "landlock", "none"])
async def test_a_session_has_a_home_and_temporary_files_of_its_own(bench, server: FakeServer) -> None:
    """What libraries write there is not seen by other sessions, and goes with the process."""
    code = (
        "import os, tempfile\n"
        "home = os.path.expanduser('~')\n"
        "found = os.listdir(home) + os.listdir(tempfile.gettempdir())\n"
        "open(os.path.join(home, '.cache'), 'w').close()\n"
        "tempfile.mkstemp()\n"
        "result = found\n"
    )
    rows = [server.add("ses_1", code), server.add("ses_2", code)]

    for row in rows:
        await bench.run(row.sid)

    assert [row.result for row in rows] == [b"[]", b"[]"]
    assert list((bench.data_dir / "work").iterdir()) == []


async def test_the_hash_seed_is_the_sessions(bench, server: FakeServer) -> None:
    """Sets iterate in the same order in every process of a session, whatever the zygote's seed."""
    rows = [
        server.add(f"ses_{k}", "result = hash('x')", hashseed=seed)
        for k, seed in enumerate(("0", "0", "7", "7"))
    ]

    for row in rows:
        await bench.run(row.sid)

    results = [row.result for row in rows]
    assert results[0] == results[1] != results[2] == results[3]


async def test_sessions_have_random_numbers_of_their_own(bench, server: FakeServer) -> None:
    """A fork copies generators; none may give two sessions the same numbers."""
    code = "import random, uuid\nresult = [random.random(), str(uuid.uuid4())]"
    rows = [server.add(f"ses_{k}", code) for k in range(3)]

    await asyncio.gather(*(bench.run(row.sid) for row in rows))

    assert len({row.result for row in rows}) == 3


async def _sleepers(expected: int, seconds: bytes = b"4242.25") -> int:
    """Count the processes that tests have started to sleep; wait a while for the expected number."""
    for _ in range(100):
        found = 0
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found += seconds in path.read_bytes()
        if found == expected:
            break
        await asyncio.sleep(0.05)
    return found
