"""Which zygote a session is forked from; zygotes themselves are tested with real sessions."""

from pathlib import Path
from typing import Any

import pytest

from ninelives_server.worker import main, pool
from ninelives_server.worker.environments import Environment
from ninelives_server.worker.pool import Kind, Zygotes


class Fake:
    """A zygote that only counts."""

    pid = 1

    def __init__(self, kind: Kind, missed: frozenset[str]) -> None:
        self.kind = kind
        self.is_alive = True
        self.session_count = 0
        self._missed = missed
        self.preloaded: list[tuple[Path, bool]] = []

    async def preload(self, build: Path, *, imports: bool = True) -> frozenset[str]:
        self.preloaded.append((build, imports))
        return self._missed

    async def close(self) -> None:
        self.is_alive = False


class Starts:
    """Remembers what was started."""

    def __init__(self, *missed: str) -> None:
        self.made: list[Fake] = []
        self._missed = frozenset(missed)

    async def __call__(self, kind: Kind) -> Any:
        self.made.append(Fake(kind, self._missed))
        return self.made[-1]


def _environment(name: str) -> Environment:
    return Environment(name, Path("/nowhere") / name)


async def test_sessions_of_one_environment_share_a_zygote() -> None:
    """Whatever their build."""
    starts = Starts()
    zygotes = Zygotes(starts)

    found = [await zygotes.get(_environment("a"), "0", Path(build), set()) for build in ("x", "y")]

    assert found[0] is found[1]


async def test_a_session_with_a_variable_that_an_import_looked_for_is_forked_elsewhere() -> None:
    """The shared import was made without it; this session's import is its own."""
    starts = Starts("LIB_MODE")
    zygotes = Zygotes(starts)

    plain = await zygotes.get(_environment("a"), "0", Path("x"), {"OTHER"})
    special = await zygotes.get(_environment("a"), "0", Path("x"), {"LIB_MODE"})

    assert (plain.kind.is_bare, special.kind.is_bare) == (False, True)
    assert special.preloaded == [(Path("x"), False)], "its modules are compiled once, too"


async def test_a_zygote_that_died_is_replaced() -> None:
    """The next session must not be given to a dead one."""
    starts = Starts()
    zygotes = Zygotes(starts)
    first = await zygotes.get(_environment("a"), "0", Path("x"), set())
    first.is_alive = False

    assert await zygotes.get(_environment("a"), "0", Path("x"), set()) is starts.made[1]


async def test_of_too_many_idle_zygotes_the_longest_unused_ends() -> None:
    """Each holds memory; one with sessions stays."""
    starts = Starts()
    zygotes = Zygotes(starts)
    names = [f"e{n}" for n in range(pool._KEPT + 2)]

    for name in names:
        zygote = await zygotes.get(_environment(name), "0", Path("x"), set())
        zygote.session_count = int(name == "e0")

    assert [fake.kind.environment.digest for fake in starts.made if not fake.is_alive] == ["e1", "e2"]


async def test_what_is_imported_ahead_trusts_the_authorities_of_the_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TLS context that a module makes at its import is never asked again."""
    specs: list[dict[str, Any]] = []

    async def start(_sdk: Path, spec: dict[str, Any]) -> None:
        specs.append(spec)

    monkeypatch.setattr(main.Zygote, "start", start)
    options = main.Options(server_url="", token=str, data_dir=tmp_path, name="one")
    kind = Kind(Environment("digest", tmp_path), "0", is_bare=False)

    for ca_file in (tmp_path / "ca.pem", None):
        await main._start_zygote(options, "none", tmp_path, kind, ca_file)

    name = str(tmp_path / "ca.pem")
    assert [spec["environ"] for spec in specs] == [{"SSL_CERT_FILE": name, "REQUESTS_CA_BUNDLE": name}, {}]
