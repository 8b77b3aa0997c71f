"""Builds on a worker's disk: fetched once, unpacked below the data directory, never changed.

A bundle comes from our own server, and what is in it from whoever may deploy: it is unpacked as untrusted.
"""

import asyncio
import io
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath

from ninelives.run.confine import Mode
from ninelives_server.errors import Invalid
from ninelives_server.worker import isolation, tidy

#: Unpacked, a build takes no more. bytes
_SIZE_LIMIT = 512 * 1024 * 1024
_FILE_LIMIT = 20_000


class Builds:
    """The builds below a directory."""

    def __init__(self, directory: Path, mode: Mode) -> None:
        self._directory = directory
        self._mode = mode
        self._locks: dict[str, asyncio.Lock] = {}

    async def ensure(self, sha256: str, fetch: Callable[[], Awaitable[bytes]]) -> Path:
        """Return the directory of a build; fetch and unpack it if it is not there.

        Raises:
            Invalid: The bundle is damaged, or larger than a build may be.
        """
        if not sha256.isalnum():
            raise Invalid(f"{sha256!r} is no build")
        place = self._directory / sha256
        if not place.is_dir():
            async with self._locks.setdefault(sha256, asyncio.Lock()):
                if not place.is_dir():
                    bundle = await fetch()
                    await asyncio.to_thread(self._unpack, bundle, place)
        tidy.used(place)
        return place

    def _unpack(self, bundle: bytes, place: Path) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self._directory))
        try:
            extract(bundle, fresh)
            isolation.give(fresh, self._mode)
            os.rename(fresh, place)  # noqa: PTH104
        except OSError:
            if not place.is_dir():  # else another worker was quicker
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def extract(bundle: bytes, place: Path) -> None:
    """Unpack a `.tar.gz` of plain files below `place`.

    `tarfile`'s own filters are missing from Python 3.11.2, which Debian 12 has.

    Raises:
        Invalid: It is damaged, too large, or holds anything but files and directories inside.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(bundle), mode="r:gz") as tar:
            members = tar.getmembers()
            if len(members) > _FILE_LIMIT or sum(m.size for m in members) > _SIZE_LIMIT:
                raise Invalid(f"the build has over {_FILE_LIMIT} files or {_SIZE_LIMIT} bytes")
            for member in members:
                _extract(tar, member, place)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise Invalid(f"the build cannot be unpacked: {error}") from None


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
        raise Invalid(f"the build cannot be unpacked: {member.name!r} is no file or directory inside it")
    target = place / name
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None  # it is a file
    with target.open("wb") as file:
        shutil.copyfileobj(content, file)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)
