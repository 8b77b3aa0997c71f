import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import ninelives
from ninelives.run.confine import Mode
from ninelives_server import ids, tasks
from ninelives_server.worker import isolation, main, sdk
from ninelives_server.worker.builds import Builds
from ninelives_server.worker.cgroups import Groups
from ninelives_server.worker.client import Client
from ninelives_server.worker.environments import Environments
from ninelives_server.worker.link import Link
from ninelives_server.worker.pool import Zygotes
from ninelives_server.worker.supervisor import Identity, Parts, Supervisor
from tests.worker.fake_server import TOKEN, FakeServer


def stand_in(directory: Path) -> Path:
    """Return a copy of the SDK with the stand-in as its runtime."""
    place = directory / "package" / "ninelives"
    shutil.copytree(Path(ninelives.__file__).parent, place, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(Path(__file__).with_name("standin.py"), place / "run" / "main.py")
    return place


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SDK with the stand-in as its runtime, compiled once."""
    place = stand_in(tmp_path_factory.mktemp("sdk"))
    sdk.install(place.parents[1] / "installed", place)
    return place


class Bench:
    """A worker without Temporal: its supervisor and its link, in this process."""

    def __init__(
        self, data_dir: Path, server: FakeServer, package: Path, mode: Mode, patience: float
    ) -> None:
        self.server = server
        self.data_dir = data_dir
        self.mode = mode
        self._package = package
        self._patience = patience
        self.groups: Groups | None = None

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Bench"]:
        async with contextlib.AsyncExitStack() as stack:
            options = main.Options(
                server_url=self.server.url,
                token=lambda: TOKEN,
                data_dir=self.data_dir,
                name="bench",
            )
            main._prepare(options)
            compiled = self._package.parents[1] / "installed"
            if compiled.is_dir():
                shutil.copytree(compiled, self.data_dir / "sdk", dirs_exist_ok=True)
            place = sdk.install(self.data_dir / "sdk", self._package)
            client = Client(self.server.url, TOKEN)
            stack.push_async_callback(client.close)
            self.zygotes = Zygotes(lambda kind: main._start_zygote(options, self.mode, place, kind))
            stack.push_async_callback(self.zygotes.close)
            identity = Identity(worker_id=ids.new("wrk"), name="bench", slots=20, isolation=self.mode)
            parts = Parts(
                client=client,
                builds=Builds(self.data_dir / "builds", self.mode),
                environments=Environments(self.data_dir, sdk=place, mode=self.mode),
                zygotes=self.zygotes,
                work=self.data_dir / "work",
                groups=self.groups,
            )
            self.supervisor = Supervisor(identity, parts, link_patience=self._patience)
            link = Link(client.url("link"), client.headers, None, self.supervisor)
            self.supervisor.connect(link.send)
            await stack.enter_async_context(tasks.kept("link", link.run))
            yield self

    async def run(self, sid: str):
        return await self.supervisor.run(sid, "turn-1", 1)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with FakeServer() as fake:
        yield fake


@pytest.fixture
def mode() -> Mode:
    return isolation.probe()


@pytest.fixture
def patience() -> float:
    return 30.0


@pytest.fixture
async def bench(
    tmp_path: Path,
    server: FakeServer,
    package: Path,
    mode: Mode,
    patience: float,
) -> AsyncIterator[Bench]:
    data_dir = tmp_path / "data"
    (data_dir / "private").mkdir(parents=True)
    made = Bench(data_dir, server, package, mode, patience)
    async with made.open():
        yield made


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No process outlives its test."""
    # Servers that other tests of this run share may be there already.
    before = set(children())
    yield
    left = [pid for pid in children() if pid not in before]
    assert not left, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]


def children() -> list[int]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            found += [int(pid) for pid in (task / "children").read_text().split()]
    return [pid for pid in found if os.path.exists(f"/proc/{pid}")]
