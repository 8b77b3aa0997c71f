"""`engine.embedded`: the Temporal server inside the wheel, and that it never outlives us."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from ninelives_server.engine import embedded
from ninelives_server.engine.embedded import EmbeddedTemporal
from ninelives_server.errors import SetupError

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def answers(server: EmbeddedTemporal) -> bool:
    try:
        _, writer = await asyncio.open_connection(*server.address.split(":"))
    except OSError:
        return False
    writer.close()
    return True


async def gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while is_alive(pid):
            await asyncio.sleep(0.02)


async def test_it_listens_on_the_loopback_address_and_stops_in_order(tmp_path: Path):
    """
    It is reachable from this machine, keeps its data in our file, and leaves no process behind.
    """
    server = EmbeddedTemporal(private_dir=tmp_path, log_file=tmp_path / "logs" / "temporal.log")

    async with server.running():
        pid = server.pid
        assert pid is not None
        _, writer = await asyncio.open_connection(*server.address.split(":"))
        writer.close()
        assert os.getsid(pid) == pid  # the terminal's Ctrl-C does not reach it
        listening = {line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}
        port = f"{int(server.address.split(':')[1]):04X}"
        assert f"0100007F:{port}" in listening
        assert f"00000000:{port}" not in listening

    assert not is_alive(pid)
    assert (tmp_path / "temporal.db").exists()


async def test_it_is_started_again_when_it_dies(tmp_path: Path):
    """
    At the same address, so that nobody has to look for it.
    """
    server = EmbeddedTemporal(private_dir=tmp_path, log_file=tmp_path / "log")
    async with server.running():
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(60):
            while server.pid in {None, first}:
                await asyncio.sleep(0.02)
            while not await answers(server):
                await asyncio.sleep(0.02)


async def test_it_dies_with_its_parent(tmp_path: Path):
    """
    Also where the parent is killed and can do nothing about it.
    """
    code = (
        "import asyncio, pathlib, sys\n"
        "from ninelives_server.engine.embedded import EmbeddedTemporal\n"
        "async def main():\n"
        "    path = pathlib.Path(sys.argv[1])\n"
        "    async with EmbeddedTemporal(private_dir=path, log_file=path / 'log').running() as server:\n"
        "        print(server.pid, flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await asyncio.wait_for(parent.stdout.readline(), 60))
    assert is_alive(pid)

    parent.kill()
    await parent.wait()

    await gone(pid)


async def test_a_taken_port_is_an_error_that_names_the_log(tmp_path: Path):
    """
    Not an endless wait.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody else may have it
        server = EmbeddedTemporal(
            private_dir=tmp_path, log_file=tmp_path / "log", port=taken.getsockname()[1]
        )

        with pytest.raises(SetupError, match=r"the embedded Temporal does not start: .*log"):
            async with server.running():
                pass

    assert server.pid is None


def test_it_says_nothing_to_anybody(tmp_path: Path):
    """
    No web pages, and no question to its maker for a newer version.
    """
    words = embedded.command(7233, tmp_path / "temporal.db")

    assert "--headless" in words
    assert "frontend.enableServerVersionCheck=false" in words
    assert "history.transferProcessorMaxPollRPS=5000" in words
    assert "journal_mode=wal" in words
