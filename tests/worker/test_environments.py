"""Environments are made by a real uv, from packages in a directory: no test needs an index."""

import asyncio
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from ninelives.run.confine import Mode
from ninelives_server.errors import Invalid
from ninelives_server.worker import environments, isolation, sdk
from ninelives_server.worker.environments import Environments

_METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}"


def a_wheel(directory: Path, name: str, version: str, code: str = "", needs: str = "") -> None:
    info = f"{name}-{version}.dist-info"
    more = f"Requires-Dist: {needs}\n" if needs else ""
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", code)
        wheel.writestr(f"{info}/METADATA", _METADATA.format(name=name, version=version, more=more))
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two packages, one in two versions, and an index of nothing else."""
    directory = tmp_path / "wheels"
    directory.mkdir()
    a_wheel(directory, "upper", "1.0", needs="lower>=1")
    a_wheel(directory, "lower", "1.0", "VALUE = 1")
    a_wheel(directory, "lower", "2.0", "VALUE = 2")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(directory))
    return directory


@pytest.fixture
def made(tmp_path: Path, wheels: Path) -> Environments:
    private = tmp_path / "data" / "private"
    private.mkdir(parents=True)
    (private / "key").write_text("the key")
    return Environments(tmp_path / "data", sdk=sdk.install(tmp_path / "data" / "sdk"))


def _value(environment: environments.Environment, code: str) -> str:
    python = environment.prefix / "bin" / "python"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


async def test_requirements_are_resolved_to_exact_packages(made: Environments) -> None:
    """What a build is given is pinned, with all that its packages need."""
    assert await made.resolve("upper  # a comment\n") == ["lower==2.0", "upper==1.0"]
    assert await made.resolve("upper\nlower<2\n") == ["lower==1.0", "upper==1.0"]


async def test_what_the_resolver_does_is_told_while_it_works(made: Environments) -> None:
    """How far it is, without where our directories are."""
    heard: list[str] = []

    await made.resolve("upper\n", heard.append)

    lines = heard[-1].splitlines()
    assert "Selecting: upper==1.0 [compatible] (upper-1.0-py3-none-any.whl)" in lines
    assert "Selecting: lower==2.0 [compatible] (lower-2.0-py3-none-any.whl)" in lines
    assert str(made._data_dir) not in heard[-1]


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n"])
async def test_no_requirements_need_no_resolver(made: Environments, text: str) -> None:
    """A project without requirements deploys at once, with no index in reach."""
    assert await made.resolve(text) == []


async def test_what_cannot_be_resolved_is_said_in_the_resolvers_words(made: Environments) -> None:
    """The author learns which package it is, and not where our directories are."""
    with pytest.raises(Invalid, match="lower>=3") as caught:
        await made.resolve("lower>=3\n")

    assert "requirements.txt cannot be resolved" in str(caught.value)
    assert "cache" not in str(caught.value)


@pytest.mark.parametrize("mode", ["mount_namespace", "landlock"])
async def test_packages_beside_the_servers_data_are_not_shown_and_it_says_so(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    """What holds the data directory as well would show it: whoever runs the server learns what to change."""
    if not isolation._works(mode) or (mode == "mount_namespace" and isolation.session_user(mode) is None):
        pytest.skip("uv sees all directories of this user here, but for the data directory")
    for wheel in wheels.iterdir():
        wheel.rename(tmp_path / wheel.name)
    monkeypatch.setenv("UV_FIND_LINKS", f"{tmp_path},{wheels}")
    made = Environments(tmp_path / "data", sdk=sdk.install(tmp_path / "data" / "sdk"), mode=mode)

    with pytest.raises(Invalid, match="cannot be resolved: error") as caught:
        await made.resolve("lower\n")

    assert "hint: UV_FIND_LINKS names a directory that also holds this server's data" in str(caught.value)


async def test_packages_are_found_in_each_of_several_places(
    made: Environments, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are separated by commas."""
    second = tmp_path / "second"
    second.mkdir()
    (wheels / "upper-1.0-py3-none-any.whl").rename(second / "upper-1.0-py3-none-any.whl")
    monkeypatch.setenv("UV_FIND_LINKS", f"{wheels},{second}")

    assert await made.resolve("upper\n") == ["lower==2.0", "upper==1.0"]


async def test_credentials_of_an_index_are_not_in_the_words(
    made: Environments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is shown to whoever sees the session, and goes to the log."""
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(Invalid, match=r"://\*\*\*@127") as caught:
        await made.ensure(["lower @ http://reader:hush@127.0.0.1:1/lower-4.0-py3-none-any.whl"])

    assert "hush" not in str(caught.value)
    assert "reader" not in str(caught.value)


async def test_what_uv_says_is_told_to_all_who_wait_while_it_works(made: Environments) -> None:
    """One makes it, both hear; where it is there already nothing is said."""
    heard: list[list[str]] = [[], [], []]

    await asyncio.gather(*(made.ensure(["lower==1.0", "upper==1.0"], tell.append) for tell in heard[:2]))
    await made.ensure(["lower==1.0", "upper==1.0"], heard[2].append)

    for told in heard[:2]:
        lines = told[-1].splitlines()
        assert lines[-2:] == [" + lower==1.0", " + upper==1.0"]
        assert any(line.startswith("Installed 2 packages") for line in lines)
        assert str(made._data_dir) not in told[-1]
    assert heard[2] == []


async def test_an_attempt_that_fails_is_told_as_well(made: Environments) -> None:
    """The next attempt's words do not follow on those of this one."""
    heard: list[str] = []

    with pytest.raises(Invalid, match=r"(?s)cannot be made: (error|×).*lower==7\.0") as caught:
        await made.ensure(["lower==7.0"], heard.append)

    assert "lower==7.0" in heard[-1]
    assert "Using Python" not in str(caught.value)
    assert made._words == {}


@pytest.mark.parametrize("line", ["-r other.txt", "--index-url https://example.org", "  -e ."])
async def test_options_are_refused_with_their_line(made: Environments, line: str) -> None:
    """They name files and places that workers do not have."""
    with pytest.raises(Invalid, match=r"requirements.txt:2: .* is an option"):
        await made.resolve(f"lower\n{line}\n")


async def test_an_environment_has_exactly_its_packages(made: Environments) -> None:
    """Each set of packages has its own; the same set, in any order, the same one."""
    first = await made.ensure(["upper==1.0", "lower==1.0"])
    same = await made.ensure(["lower==1.0", "upper==1.0"])
    other = await made.ensure(["lower==2.0"])

    assert first == same
    assert first.prefix != other.prefix
    assert _value(first, "import lower, upper; print(lower.VALUE)") == "1"
    assert _value(other, "import lower; print(lower.VALUE)") == "2"


async def test_an_environment_of_nothing_needs_no_uv(made: Environments) -> None:
    """It is there in no time and holds the standard library only."""
    environment = await made.ensure([])

    assert _value(environment, "import sys; print(sys.prefix)") == str(environment.prefix)
    with pytest.raises(subprocess.CalledProcessError):
        _value(environment, "import structlog")


async def test_an_environment_is_made_once_for_all_who_ask(made: Environments) -> None:
    """Ten sessions of a new build start together."""
    found = await asyncio.gather(*(made.ensure(["lower==2.0"]) for _ in range(10)))

    assert len({environment.prefix for environment in found}) == 1


async def test_an_attempt_that_failed_is_not_taken_for_an_environment(
    made: Environments, wheels: Path
) -> None:
    """The next attempt makes it anew."""
    with pytest.raises(Invalid, match="lower==3.0"):
        await made.ensure(["lower==3.0"])
    a_wheel(wheels, "lower", "3.0", "VALUE = 3")

    assert not made.has(["lower==3.0"])
    environment = await made.ensure(["lower==3.0"])
    assert made.has(["lower==3.0"])

    assert _value(environment, "import lower; print(lower.VALUE)") == "3"


_BACKEND = """
import sys, zipfile
def get_requires_for_build_wheel(config_settings=None): return []
def build_wheel(directory, config_settings=None, metadata_directory=None):
    try:
        found = open({key!r}).read()
    except OSError as error:
        found = type(error).__name__
    name = "nosy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(directory + "/" + name, "w") as wheel:
        wheel.writestr("nosy.py", "FOUND = " + repr(found))
        wheel.writestr("nosy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: nosy\\nVersion: 1.0\\n")
        wheel.writestr("nosy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("nosy-1.0.dist-info/RECORD", "")
    return name
"""


async def test_code_that_builds_a_package_sees_no_key(
    made: Environments, wheels: Path, tmp_path: Path
) -> None:
    """A source distribution runs its author's code when it is installed: confined, like a session."""
    if isolation.probe() == "none":
        pytest.skip("this kernel cannot confine")
    key = tmp_path / "data" / "private" / "key"
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n[project]\nname = "nosy"\nversion = "1.0"\n'
    files = {
        "pyproject.toml": project,
        "backend.py": _BACKEND.format(key=str(key)),
        "PKG-INFO": _METADATA.format(name="nosy", version="1.0", more=""),
    }
    with tarfile.open(wheels / "nosy-1.0.tar.gz", "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"nosy-1.0/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))

    environment = await made.ensure(["nosy==1.0"])

    assert _value(environment, "import nosy; print(nosy.FOUND)") in {"FileNotFoundError", "PermissionError"}
