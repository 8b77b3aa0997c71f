"""Keep a copy of the package `ninelives`, and nothing else, for the interpreters of projects.

The server's own packages lie beside the installed one; a project's code must not be able to import them.
"""

import hashlib
import os
import py_compile
import shutil
import tempfile
from pathlib import Path

import ninelives

_PACKAGE = Path(ninelives.__file__).resolve().parent


def install(directory: Path, package: Path = _PACKAGE) -> Path:
    """Copy the package below `directory`, once for each content, and return what belongs on `sys.path`."""
    sources = sorted(p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    digest = hashlib.sha256()
    for source in sources:
        digest.update(f"{source.relative_to(package)}\0".encode() + source.read_bytes())
    place = directory / digest.hexdigest()[:16]
    if not place.is_dir():
        _copy(sources, package, place)
    return place


def _copy(sources: list[Path], package: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=place.parent))
    for source in sources:
        target = fresh / package.name / source.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        if target.suffix == ".py":
            py_compile.compile(str(target), dfile=str(place / target.relative_to(fresh)), quiet=1)
    for path in (fresh, *fresh.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    try:
        os.rename(fresh, place)  # noqa: PTH104
    except OSError:  # another worker was quicker
        shutil.rmtree(fresh)
