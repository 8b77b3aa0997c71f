"""Bundles are untrusted: what unpacks them leaves nothing outside of the build."""

import asyncio
import io
import tarfile
from pathlib import Path

import pytest

from ninelives_server.errors import Invalid
from ninelives_server.worker import builds
from ninelives_server.worker.builds import Builds
from tests.worker.fake_server import bundle


def _tar(*members: tarfile.TarInfo) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return data.getvalue()


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    return member


async def test_a_build_is_fetched_once(tmp_path: Path) -> None:
    """However many sessions of it start together."""
    fetched = []

    async def fetch() -> bytes:
        fetched.append(1)
        await asyncio.sleep(0)
        return bundle({"main.py": "x = 1", "pkg/deep.py": "y = 2"})

    made = Builds(tmp_path / "builds", "none")
    places = await asyncio.gather(*(made.ensure("abc", fetch) for _ in range(5)))

    assert len(fetched) == 1
    assert {place.name for place in places} == {"abc"}
    assert (places[0] / "pkg" / "deep.py").read_text() == "y = 2"
    assert [path.name for path in (tmp_path / "builds").iterdir()] == ["abc"]


@pytest.mark.parametrize(
    "member",
    [
        _member("../outside.py"),
        _member("link", tarfile.SYMTYPE, "/etc/passwd"),
        _member("link", tarfile.LNKTYPE, "../../etc/passwd"),
        _member("device", tarfile.CHRTYPE),
        _member("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.type!r}",
)
async def test_a_bundle_that_reaches_outside_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    """No file, link or device of it is left."""

    async def fetch() -> bytes:
        return _tar(_member("main.py"), member)

    with pytest.raises(Invalid, match="cannot be unpacked"):
        await Builds(tmp_path / "builds", "none").ensure("abc", fetch)

    assert list((tmp_path / "builds").iterdir()) == []
    assert not (tmp_path / "outside.py").exists()


async def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    """The error says so, and a later, good answer is taken."""
    answers = [b"no archive", bundle({"main.py": ""})]

    async def fetch() -> bytes:
        return answers.pop(0)

    made = Builds(tmp_path / "builds", "none")
    with pytest.raises(Invalid, match="cannot be unpacked"):
        await made.ensure("abc", fetch)

    assert (await made.ensure("abc", fetch)).is_dir()


async def test_a_bundle_with_too_many_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small bundle may unpack to very much."""
    monkeypatch.setattr(builds, "_FILE_LIMIT", 3)

    with pytest.raises(Invalid, match="over 3 files"):
        builds.extract(_tar(*(_member(f"{n}.py") for n in range(4))), tmp_path)


async def test_a_name_that_is_no_digest_is_refused(tmp_path: Path) -> None:
    """It becomes the name of a directory."""

    async def fetch() -> bytes:
        return b""

    with pytest.raises(Invalid, match="is no build"):
        await Builds(tmp_path, "none").ensure("../private", fetch)
