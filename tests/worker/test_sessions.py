"""Sessions of a real supervisor over a real link, in real processes; only server and runtime are stand-ins."""

import asyncio
from pathlib import Path

import pytest

from tests.worker.fake_server import FakeServer
from tests.worker.programs import FOREVER, sleepers, until_mute


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
    turn = asyncio.create_task(until_mute(server, bench, row))
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
    assert await sleepers(0, b"4242.75") == 0
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
