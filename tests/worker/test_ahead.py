"""Environments that a worker makes before a session needs them."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.slow_index import slow_index
from tests.worker.fake_server import FakeServer
from tests.worker.test_environments import a_wheel


@pytest.fixture(autouse=True)
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where uv finds two packages, and nothing else."""
    directory = tmp_path / "wheels"
    directory.mkdir()
    for name in ("first", "second"):
        a_wheel(directory, name, "1.0")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(directory))


async def test_a_session_finds_what_was_made_before_it_came(bench, server: FakeServer) -> None:
    """What uv said is with the build, and the session need not say that it waits."""
    environments = bench.supervisor._parts.environments
    await server.until(lambda: server.hellos)

    await server.expect("bld_1", "first==1.0")
    await server.expect("bld_2", "second==1.0")
    await _until(lambda: environments.has(["second==1.0"]))
    row = server.add("ses_1", "import second; result = second.__name__", ["second==1.0"])
    outcome = await bench.run("ses_1")

    assert environments.has(["first==1.0"])
    assert [build for build, _ in server.words] == sorted(build for build, _ in server.words)
    assert any("first==1.0" in text for _, text in server.words)
    assert (outcome.name, row.result) == ("finished", b'"second"')
    assert "preparing" not in {frame.type for frame in row.frames}


async def test_what_cannot_be_made_says_why_and_the_next_is_made(bench, server: FakeServer) -> None:
    """The words are uv's; a session that needs it tries again."""
    await server.until(lambda: server.hellos)

    await server.expect("bld_1", "nowhere==1.0")
    await server.expect("bld_2", "first==1.0")
    await server.until(lambda: any(build == "bld_2" for build, _ in server.words))

    assert "nowhere==1.0" in [text for build, text in server.words if build == "bld_1"][-1]
    assert not bench.supervisor._parts.environments.has(["nowhere==1.0"])


async def test_what_is_there_is_not_made_again(bench, server: FakeServer) -> None:
    """Another deployment of the same packages costs nothing."""
    await server.until(lambda: server.hellos)
    await bench.supervisor._parts.environments.ensure(["first==1.0"])

    await server.expect("bld_1", "first==1.0")
    await server.expect("bld_2", "second==1.0")
    await server.until(lambda: any(build == "bld_2" for build, _ in server.words))

    assert "bld_1" not in {build for build, _ in server.words}


async def test_a_worker_that_stops_does_not_wait_for_it(
    bench, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker, or this one's next life, makes it when a session needs it."""
    await server.until(lambda: server.hellos)
    with slow_index() as index:
        monkeypatch.delenv("UV_NO_INDEX")
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        await server.expect("bld_1", "slowly==1.0")
        await _until(lambda: index.asked)

        async with asyncio.timeout(20):
            await bench.supervisor.stop()
        index.open.set()

    assert not bench.supervisor._ahead._tasks
    assert not bench.supervisor._parts.environments.has(["slowly==1.0"])


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)
