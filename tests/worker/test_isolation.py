"""What a session cannot do, and that the same works outside: in real processes, with both ways of confining."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ninelives
from ninelives.run.confine import Mode
from ninelives_server.worker import isolation
from tests.worker import attempts
from tests.worker.conftest import Bench, stand_in
from tests.worker.fake_server import FakeServer

_SOURCE = Path(attempts.__file__)
_REFUSALS = {
    "AssertionError", "CalledProcessError", "FileNotFoundError", "HTTPError", "ModuleNotFoundError", "OSError",
    "PermissionError", "ProcessLookupError",
}  # fmt: skip
#: Only namespaces make these impossible; docs/explanation/isolation.md names them as limits of Landlock alone.
_NEEDS_NAMESPACES = {"gain_capabilities_in_user_namespace"}
#: Nothing that an ordinary process of root could do either, or nothing to do with root.
_NO_CONTROL = {
    "ask_the_server_without_credential",
    "find_servers_variables_in_own_environ",
    "import_server",
    "read_key_through_first_process",
}

is_root = os.geteuid() == 0


@contextlib.contextmanager
def _planted(data_dir: Path) -> Iterator[Path]:
    """Put there what is to steal: keys, a process of the server with a variable, and a socket."""
    private = data_dir / "private"
    private.mkdir(parents=True, exist_ok=True)
    for name, text in {"key": "the key", "admin-token": "the token", "ninelives.db": "the database"}.items():
        (private / name).write_text(text)
        (private / name).chmod(0o600)
    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(attempts.planted_bus(str(private)))
        bus.listen()
        process = subprocess.Popen(["/bin/sleep", "300"], env={"PLANTED": "in-the-environment"})
        pid = Path(attempts.planted_pid(str(private)))
        pid.write_text(str(process.pid))
        session = Path(f"{pid}-session")
        session.write_text(str(process.pid))
        try:
            yield private
        finally:
            process.kill()
            process.wait()
            pid.unlink()
            session.unlink()


def _code(attempt: str, private: Path) -> str:
    return (
        f"{_SOURCE.read_text()}\n"
        "try:\n"
        f"    ALL[{attempt!r}]({str(private)!r})\n"
        "    result = 'it worked'\n"
        "except BaseException as error:\n"
        "    result = type(error).__name__\n"
    )


async def _try_all(place: Path, mode: Mode) -> dict[str, str]:
    """Try everything, each in a session of its own; return what came of it."""
    async with FakeServer() as server:
        with _planted(place / "data") as private:
            bench = Bench(place / "data", server, stand_in(place), mode, 30.0)
            place_of_server = Path(attempts.planted_pid(str(private)) + "-server")
            place_of_server.write_text(server.url)
            async with bench.open():
                # Another session, which the others may try to get at.
                victim = Path(attempts.planted_pid(str(private)) + "-session")
                victim.chmod(0o666)
                planted = f"import os; open({str(victim)!r}, 'w').write(str(os.getpid()))\n"
                row = server.add("victim", planted + "session.step('ready')\nsession.receive()")
                running = asyncio.create_task(bench.run("victim"))
                await server.until(lambda: row.journal)
                for name in attempts.ALL:
                    server.add(name, _code(name, private))
                for name in attempts.ALL:
                    await bench.run(name)
                await server.tell("victim", "kill", why="over")
                await asyncio.gather(running, return_exceptions=True)
            place_of_server.unlink()
            del server.rows["victim"]
    return {name: json.loads(row.result or b'"no result"') for name, row in server.rows.items()}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What came of each attempt, by way of confining."""
    found = {}
    for mode in ("mount_namespace", "landlock"):
        if isolation._works(mode):
            found[mode] = asyncio.run(_try_all(tmp_path_factory.mktemp(mode), mode))
    return found


@pytest.mark.parametrize("attempt", sorted(attempts.ALL))
def test_a_session_fails_to(results: dict[str, dict[str, str]], attempt: str) -> None:
    """User code holds no key, and cannot get one."""
    if "mount_namespace" not in results:
        pytest.skip("this kernel refuses namespaces")

    assert results["mount_namespace"][attempt] in _REFUSALS


@pytest.mark.parametrize("attempt", sorted(set(attempts.ALL) - _NEEDS_NAMESPACES))
def test_a_session_under_landlock_fails_to(results: dict[str, dict[str, str]], attempt: str) -> None:
    """The fallback keeps the same promises, but for what its page names."""
    if "landlock" not in results:
        pytest.skip("this kernel has no Landlock")

    assert results["landlock"][attempt] in _REFUSALS


@pytest.mark.skipif(not is_root, reason="shows what root could do")
@pytest.mark.parametrize("attempt", sorted(set(attempts.ALL) - _NO_CONTROL))
def test_a_process_that_is_not_confined_manages_to(tmp_path: Path, attempt: str) -> None:
    """Each attempt works where nothing hinders it: so its failure in a session means something."""
    for place in ("environments/x/site-packages", "builds/one", "sdk/one/ninelives"):
        (tmp_path / "data" / place).mkdir(parents=True)

    with _planted(tmp_path / "data") as private:
        command = [sys.executable, str(_SOURCE), attempt, str(private)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)

    assert done.returncode == 0, done.stderr


def test_the_strongest_way_that_the_kernel_allows_is_found() -> None:
    """The probe tries it out; here is a kernel with namespaces."""
    assert isolation.probe() == next(
        (mode for mode in ("mount_namespace", "landlock") if isolation._works(mode)), "none"
    )


@pytest.mark.skipif(not is_root, reason="only root can become another user")
@pytest.mark.parametrize("python", ["/usr/bin/python3"])
def test_an_ordinary_user_is_confined_too(tmp_path: Path, python: str) -> None:
    """Without root the mounts are made inside a user namespace, with the same effect."""
    if not os.access(python, os.X_OK):
        pytest.skip("there is no interpreter outside of root's own directory")
    place = Path("/tmp") / f"ninelives-ordinary-{os.getpid()}"
    source = place / "source"
    shutil.copytree(
        Path(ninelives.__file__).parent, source / "ninelives", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("data/private", "data/builds/one"):
        (place / name).mkdir(parents=True)
    (place / "data" / "private" / "key").write_text("x")
    subprocess.run(["chown", "-R", "54321:54321", place], check=True)
    flags = ["-S", "-s", "-P", "-B", "-X", "utf8", "-c", isolation._TRIAL]
    command = [python, *flags, str(source), "mount_namespace", str(place / "data"), "-1"]

    try:
        done = subprocess.run(
            command, user=54321, group=54321, extra_groups=[], cwd="/", capture_output=True, env={}
        )
    finally:
        shutil.rmtree(place)

    assert done.returncode == isolation._HIDDEN, done.stderr
