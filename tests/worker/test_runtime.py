"""The real session runtime in a real worker: the two sides of the socket fit."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import ninelives
from ninelives.run.confine import Mode
from tests.worker.conftest import Bench
from tests.worker.fake_server import FakeServer, Row

_START = {
    "entrypoint": "main.py:main",
    "is_durable": True,
    "event": {"data": {"name": "Ada"}, "event_id": "evt_1", "event_type": "made"},
    "seed": "ab" * 32,
    "secret_names": {},
    "semantics": 1,
    "tz": "UTC",
    "ca_file": None,
    "connections": [],
}


@pytest.fixture
async def real(tmp_path: Path, server: FakeServer, mode: Mode) -> AsyncIterator[Bench]:
    """A worker with the package as it is installed."""
    package = Path(ninelives.__file__).parent
    async with Bench(tmp_path / "data", server, package, mode, 30.0).open() as bench:
        yield bench


def _printed(row: Row) -> str:
    return "".join(
        str(frame.head.get("preview") or frame.body.decode())
        for frame in row.journal
        if frame.head["track"] == "log"
    )


@pytest.mark.parametrize("mode", ["mount_namespace", "landlock", "none"])
async def test_a_project_runs(real: Bench, server: FakeServer) -> None:
    """Steps are recorded, prints are taken, the result comes back; whichever way it is confined."""
    code = (
        "import ninelives, os\n"
        "@ninelives.step\n"
        "def twice(x):\n"
        "    return 2 * x\n"
        "def main(event):\n"
        "    print('hello', event.data.name)\n"
        "    open('note.txt', 'w').write('private')\n"
        "    return {'value': twice(21), 'secret': os.environ['WORD'], 'variables': len(os.environ)}\n"
    )
    row = server.add("ses_1", code, **{**_START, "env": {"WORD": "xyz"}})

    outcome = await real.run("ses_1")

    assert outcome.name == "finished", row.deaths
    result = json.loads(row.result or b"null")
    assert (result["value"], result["secret"]) == (42, "xyz")
    assert result["variables"] < 20
    assert any("twice" in frame.head["name"] for frame in row.journal if frame.head["track"] == "call")
    assert "hello" in _printed(row)


@pytest.mark.parametrize("mode", ["mount_namespace", "landlock"])
async def test_a_session_compiles_nothing(real: Bench, server: FakeServer) -> None:
    """Its zygote had that done once: there is a session for each event."""
    code = (
        "import sys\n"
        "def main(event):\n"
        "    seen = []\n"
        "    sys.addaudithook(lambda name, _: seen.append(name) if name in {'compile', 'marshal.loads'} else None)\n"
        "    import other\n"
        "    return [seen, other.x]\n"
    )
    row = server.add("ses_1", code, files={"other.py": "x = 1\n"}, **_START)

    outcome = await real.run("ses_1")

    assert outcome.name == "finished", row.deaths
    assert json.loads(row.result or b"null") == [["marshal.loads"], 1]


async def test_a_project_that_is_killed_goes_on_where_it_was(real: Bench, server: FakeServer) -> None:
    """The second process gets the journal of the first and does not run its steps again."""
    code = (
        "import ninelives, os\n"
        "@ninelives.step\n"
        "def once(k):\n"
        "    return [k, os.getpid()]\n"
        "@ninelives.step\n"
        "def die():\n"
        "    if not os.path.exists('/tmp/' + os.environ['FLAG']):\n"
        "        open('/tmp/' + os.environ['FLAG'], 'w').close()\n"
        "        os.kill(os.getpid(), 9)\n"
        "    os.unlink('/tmp/' + os.environ['FLAG'])\n"
        "def main(event):\n"
        "    first = [once(k) for k in range(3)]\n"
        "    die()\n"
        "    return [first, once(3)]\n"
    )
    flag = f"ninelives-{real.data_dir.parent.name}-{real.server.port}"
    row = server.add("ses_1", code, **{**_START, "env": {"FLAG": flag}})

    first = await real.run("ses_1")
    second = await real.run("ses_1")

    assert (first.name, second.name) == ("died", "finished"), row.deaths[-1]["stderr"]
    calls = [
        frame.head["name"]
        for frame in row.journal
        if frame.head["track"] == "call" and "once" in frame.head["name"]
    ]
    assert len(calls) == 4


async def test_an_error_of_user_code_is_the_sessions_end(real: Bench, server: FakeServer) -> None:
    """It is no death of the process."""
    row = server.add("ses_1", "def main(event):\n    raise ValueError('no good')\n", **_START)

    outcome = await real.run("ses_1")

    done = next(frame for frame in row.frames if frame.type == "done")
    assert (outcome.name, row.deaths) == ("finished", [])
    assert (done.head["state"], done.head["error"]["type"]) == ("error", "ValueError")
