"""Bundles: a project's directory as a gzipped tar, read without trusting it, and written in one form.

What is read: regular files, and links that point to files inside the bundle, as copies. What is left out:
dotfiles and `__pycache__`. Nothing is ever unpacked to a disk here; sessions get the form that `pack` writes.
"""

import dataclasses
import gzip
import hashlib
import io
import posixpath
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from ninelives_server.errors import Invalid, TooLarge

#: Of all files together. bytes
LARGEST = 64 * 1024 * 1024
MOST_FILES = 5000
# What a tar may add to its files: headers, long names, padding. bytes
_TAR_OVERHEAD = 16 * 1024 * 1024
_MOST_LINKS = 10  # in a row
_LEFT_OUT = "__pycache__"
_LESS = "leave out what the code does not read"
_UNREADABLE = "the bundle cannot be read; send the project's directory as a gzipped tar"


@dataclass(frozen=True, slots=True)
class File:
    """One file of a bundle."""

    data: bytes = field(repr=False)
    is_executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The files of a project.

    Attributes:
        files: By path inside the project, with `/`, sorted.
        sha256: Of names, contents and executable bits, in hex: the same files give the same sum, whatever
            their times and owners.
        size_bytes: Of all files together.
    """

    files: Mapping[str, File] = field(repr=False)
    sha256: str
    size_bytes: int


def told_apart(bundle: Bundle, by: str) -> Bundle:
    """Return the same files with another sum, so that what else their build depends on is part of it."""
    digest = hashlib.sha256(f"{bundle.sha256}\0{by}".encode()).hexdigest()
    return dataclasses.replace(bundle, sha256=digest)


def read(packed: bytes) -> Bundle:
    """Read a bundle that somebody sent.

    Raises:
        Invalid: It is no gzipped tar, or something in it has no place in a project; the message names it.
        TooLarge: It has too many files or bytes.
    """
    raw = io.BytesIO(_unzipped(packed))
    try:
        with tarfile.open(fileobj=raw, mode="r:") as tar:
            files, links = _members(tar)
    except (tarfile.TarError, UnicodeError, ValueError, OverflowError):
        raise Invalid(_UNREADABLE) from None
    return _bundle(_with_links(files, links))


def pack(bundle: Bundle) -> bytes:
    """Write a bundle as a gzipped tar: the same files give the same bytes."""
    raw = io.BytesIO()
    # mtime 0: gzip would write the time of day into its header.
    with (
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w:") as tar,
    ):
        for path, file in bundle.files.items():
            header = tarfile.TarInfo(path)
            header.size = len(file.data)
            header.mode = 0o755 if file.is_executable else 0o644
            tar.addfile(header, io.BytesIO(file.data))
    return raw.getvalue()


def _unzipped(packed: bytes) -> bytes:
    limit = LARGEST + _TAR_OVERHEAD
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as zipped:
            raw = zipped.read(limit + 1)
    except (OSError, EOFError, zlib.error):
        raise Invalid(_UNREADABLE) from None
    if len(raw) > limit:
        raise TooLarge(
            f"the bundle has more than {LARGEST // 1024**2} MB; leave out what the code does not read"
        )
    return raw


def _members(tar: tarfile.TarFile) -> tuple[dict[str, File], dict[str, str]]:
    """Return the files, and where the links point to."""
    files: dict[str, File] = {}
    links: dict[str, str] = {}
    total = 0
    for member in tar:
        path = _path(member)
        if path is None or member.isdir():
            continue
        if path in files or path in links:
            raise Invalid(f"the bundle has {path!r} twice")
        if len(files) + len(links) >= MOST_FILES:
            raise TooLarge(
                f"the bundle has more than {MOST_FILES} files; leave out what the code does not read"
            )
        if member.issym() or member.islnk():
            links[path] = _target(path, member)
            continue
        if not member.isreg():
            raise Invalid(f"the bundle has {path!r}, which is a device or a pipe, not a file")
        total += member.size
        if total > LARGEST:
            raise TooLarge(f"the files of the bundle have more than {LARGEST // 1024**2} MB together")
        content = tar.extractfile(member)
        assert content is not None
        files[path] = File(content.read(), bool(member.mode & 0o100))
    return files, links


def _path(member: tarfile.TarInfo) -> str | None:
    """Return where a member is in the project; `None` where it is left out.

    Raises:
        Invalid: It is outside of the project.
    """
    name = member.name
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if name.startswith("/") or ".." in parts:
        raise Invalid(f"the bundle has {name!r}, which is outside of the project")
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in name) or "\\" in name:
        raise Invalid(f"the bundle has the file name {name!r}, which is not usable everywhere; rename it")
    if not parts or any(part.startswith(".") or part == _LEFT_OUT for part in parts):
        return None
    return "/".join(parts)


def _target(path: str, member: tarfile.TarInfo) -> str:
    """Return what a link points to, as a path inside the project."""
    # A hard link names a member of the archive, a symbolic one is relative to its own directory.
    base = posixpath.dirname(path) if member.issym() else ""
    target = posixpath.normpath(posixpath.join(base, member.linkname))
    if target.startswith(("/", "../")) or target in {"..", "."}:
        raise Invalid(f"the bundle has the link {path!r}, which points outside of the project")
    return target


def _with_links(files: dict[str, File], links: Mapping[str, str]) -> dict[str, File]:
    """Put a copy of its target in the place of each link."""
    found = dict(files)
    for path in links:
        target, hops = path, 0
        while target in links and hops <= _MOST_LINKS:
            target, hops = links[target], hops + 1
        if target not in files:
            raise Invalid(f"the bundle has the link {path!r} to {target!r}, which is no file in it")
        found[path] = files[target]
    return found


def _bundle(files: Mapping[str, File]) -> Bundle:
    ordered = {path: files[path] for path in sorted(files)}
    total = sum(len(file.data) for file in ordered.values())
    if total > LARGEST:
        raise TooLarge(f"the files of the bundle have more than {LARGEST // 1024**2} MB together")
    digest = hashlib.sha256(b"ninelives bundle 1\n")
    for path, file in ordered.items():
        _refuse_nested(path, ordered)
        name = path.encode()
        digest.update(f"{len(name)} {len(file.data)} {'x' if file.is_executable else '-'}\n".encode())
        digest.update(name)
        digest.update(file.data)
    return Bundle(files=ordered, sha256=digest.hexdigest(), size_bytes=total)


def _refuse_nested(path: str, files: Mapping[str, File]) -> None:
    parent = posixpath.dirname(path)
    while parent:
        if parent in files:
            raise Invalid(f"the bundle has {parent!r} both as a file and as a directory")
        parent = posixpath.dirname(parent)
