"""`engine.embedded`: the Temporal server inside the wheel, and that it never outlives us."""

import asyncio
import base64
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from temporalio.client import Client

from ninelives_server.engine import embedded
from ninelives_server.engine.embedded import EmbeddedTemporal
from ninelives_server.errors import SetupError

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]

#: Asked of the kernel by another program than ours, so that a defect of ours skips nothing.
_NAMESPACES = subprocess.run(
    ["unshare", "--map-current-user", "--net", "true"], check=False, capture_output=True
)
needs_namespaces = pytest.mark.skipif(
    _NAMESPACES.returncode != 0, reason="this kernel refuses network namespaces"
)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def asked(server: EmbeddedTemporal, *fields: str, request: str = "CONNECT temporal HTTP/1.1") -> bytes:
    """Return what the door answers at once."""
    reader, writer = await asyncio.open_connection(*server.address.split(":"))
    writer.write("\r\n".join((request, *fields, "", "")).encode())
    async with asyncio.timeout(10):
        answer = await reader.readline()
    writer.close()
    return answer


def credential(secret: str, user: str = "ninelives") -> str:
    """Return the field that opens the door."""
    return "Proxy-Authorization: Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


async def answers(server: EmbeddedTemporal) -> bool:
    try:
        return b" 200 " in await asked(server, credential(server.secret))
    except OSError:
        return False


def ports_of(pid: int) -> set[int]:
    """Return the ports on which a process and its children listen, as its own network namespace has them."""
    mine = {pid, *(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())}
    sockets = {
        os.readlink(fd)[8:-1]
        for each in mine
        for fd in Path(f"/proc/{each}/fd").iterdir()
        if os.readlink(fd).startswith("socket:[")
    }
    found = set()
    for each in mine:
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{each}/net/{table}").read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == "0A" and words[9] in sockets:
                    found.add(int(words[1].rpartition(":")[2], 16))
    return found


def refusing_python(directory: Path) -> str:
    """Return a program that runs Python where the kernel seems to refuse namespaces."""
    (directory / "sitecustomize.py").write_text(
        "from ninelives.run import confine\n"
        "def refuse(*_): raise confine.Refused(1, 'not here')\n"
        "confine.unshare = refuse\n"
    )
    python = directory / "python"
    python.write_text(
        f'#!/bin/sh\nshift\nPYTHONPATH={directory} exec {sys.executable} "$@"\n'
    )  # not isolated
    python.chmod(0o755)
    return str(python)


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
        assert await answers(server)
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

        with pytest.raises(SetupError, match=r"does not start: its port \d+ cannot be used .*log"):
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


async def test_whoever_does_not_know_the_secret_is_not_let_in(tmp_path: Path):
    """
    Not with none, another one, another name, another method, nor with half of one; nor with Temporal's protocol.
    """
    server = EmbeddedTemporal(private_dir=tmp_path, log_file=tmp_path / "log")
    async with server.running():
        assert await asked(server, credential(server.secret)) == b"HTTP/1.1 200 OK\r\n"
        for fields in (
            (),
            (credential("guess"),),
            (credential(""),),
            (credential(server.secret, user="root"),),
            (credential(server.secret[:-1]),),
            (credential(server.secret).replace("Proxy-", ""),),
        ):
            assert b" 407 " in await asked(server, *fields)
        assert b" 407 " in await asked(server, credential(server.secret), request="GET / HTTP/1.1")
        with pytest.raises(RuntimeError):
            await asyncio.wait_for(Client.connect(server.address), 30)


@needs_namespaces
async def test_nothing_of_it_can_be_reached_beside_the_door(tmp_path: Path):
    """
    Its front, its metrics and the ports of its parts are in a network of their own.

    The ports are found by asking the kernel about its processes, so that none is forgotten.
    """
    server = EmbeddedTemporal(private_dir=tmp_path, log_file=tmp_path / "log")
    async with server.running():
        assert server.pid is not None
        inside = ports_of(server.pid) - {int(server.address.rpartition(":")[2])}
        assert server.is_enclosed
        assert len(inside) > 3
        for port in inside:
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)


async def test_the_secret_is_in_no_command_line_and_no_environment(tmp_path: Path):
    """
    Others on the machine may read the former.
    """
    server = EmbeddedTemporal(private_dir=tmp_path, log_file=tmp_path / "log")
    async with server.running():
        pid = server.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert children
        for each in (str(pid), *children):
            for name in ("cmdline", "environ"):
                assert server.secret.encode() not in Path(f"/proc/{each}/{name}").read_bytes()
    assert server.secret not in (tmp_path / "log").read_text()


async def test_where_the_kernel_refuses_the_door_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """
    It is told that Temporal can be reached beside it; the kernel is played by a Python that may not unshare.
    """
    (tmp_path / "temporal").symlink_to(embedded.program())
    monkeypatch.setattr(sys, "executable", refusing_python(tmp_path))
    server = EmbeddedTemporal(private_dir=tmp_path, log_file=tmp_path / "log")
    async with server.running():
        assert server.is_enclosed is False
        assert await answers(server)
        assert b" 407 " in await asked(server)


@needs_namespaces
async def test_a_doctor_can_tell_what_the_kernel_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """
    It is a process of its own that tries; nothing of it stays.
    """
    before = os.readlink("/proc/self/ns/net")
    assert await embedded.can_enclose()
    assert os.readlink("/proc/self/ns/net") == before

    monkeypatch.setattr(sys, "executable", refusing_python(tmp_path))
    assert not await embedded.can_enclose()
