"""Child processes of `up`: real ones, that are told something on their standard input."""

import asyncio
import socket
import sys
from pathlib import Path

from ninelives_server.cli.processes import Child

#: Says that it is there, waits for what it is told, writes it down and goes on or dies.
PROGRAM = """
import sys, time
print("here", flush=True)
told = sys.stdin.read()
print("told", told, flush=True)
if told == "die":
    raise SystemExit(3)
time.sleep(600)
"""


def a_child(directory: Path, told) -> Child:
    """Return one whose output is in the file `log` of a directory."""
    return Child("child", [sys.executable, "-c", PROGRAM], log_file=directory / "log", told=told)


async def until_logged(directory: Path, text: str, count: int = 1) -> None:
    """Wait until its output holds a text so many times."""
    async with asyncio.timeout(30):
        while (directory / "log").read_text().count(text) < count if (directory / "log").exists() else True:
            await asyncio.sleep(0.02)


async def test_it_starts_before_that_is_known_which_it_is_told(tmp_path: Path):
    """
    So that the worker's modules are loaded while the server still makes its token.
    """
    word: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def told() -> str:
        return await asyncio.shield(word)

    child = a_child(tmp_path, told)
    running = asyncio.create_task(child.run())
    await until_logged(tmp_path, "here")
    assert "told" not in (tmp_path / "log").read_text()
    word.set_result("the token")
    await until_logged(tmp_path, "told the token")

    await child.stop(5)
    await running
    assert child.pid is None


async def test_one_that_died_is_told_again(tmp_path: Path):
    """
    Whatever the first one did with it.
    """
    words = ["die", "live"]

    async def told() -> str:
        return words.pop(0)

    child = a_child(tmp_path, told)
    running = asyncio.create_task(child.run())
    await until_logged(tmp_path, "told live")
    assert (tmp_path / "log").read_text().split("\n")[:4] == ["here", "told die", "here", "told live"]

    await child.stop(5)
    await running


async def test_one_that_still_waits_can_be_stopped(tmp_path: Path):
    """
    As when the server cannot start: nobody will tell it anything.
    """

    async def told() -> str:
        return await asyncio.get_running_loop().create_future()

    child = a_child(tmp_path, told)
    running = asyncio.create_task(child.run())
    await until_logged(tmp_path, "here")

    await child.stop(5)
    async with asyncio.timeout(5):
        await running
    assert child.pid is None


async def test_one_that_is_stopped_while_it_is_made_ends(tmp_path: Path):
    """
    The stop comes before there is a process to ask.
    """

    async def told() -> str:
        return "live"

    child = a_child(tmp_path, told)
    running = asyncio.create_task(child.run())
    await child.stop(5)

    async with asyncio.timeout(10):
        await running
    assert child.pid is None


#: Answers over the socket whose number is its last argument, and shows that nobody else would get it.
LINKED = """
import os, socket, subprocess, sys
number = int(sys.argv[-1])
os.set_inheritable(number, False)
sys.stdin.read()
link = socket.socket(fileno=number)
link.sendall(link.recv(100).upper())
link.recv(100)
"""


async def test_it_gets_one_end_of_a_pair_of_sockets_and_the_next_one_another(tmp_path: Path):
    """
    Once it was told.
    """
    links: asyncio.Queue[socket.socket] = asyncio.Queue()

    async def told() -> str:
        return "the token"

    arguments = [sys.executable, "-c", LINKED, "--door"]
    child = Child("child", arguments, log_file=tmp_path / "log", told=told, linked=links.put)
    running = asyncio.create_task(child.run())
    heard = []
    async with asyncio.timeout(30):
        for word in (b"first", b"second"):
            link = await links.get()
            link.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(link, word)
            heard.append(await asyncio.get_running_loop().sock_recv(link, 100))
            link.close()  # that ends it, and it is started again
    await child.stop(5)
    await running

    assert heard == [b"FIRST", b"SECOND"]
