"""Compiled code of a build's modules: made once in the zygote, for all sessions that are forked from it.

Reading, rewriting and compiling a module takes some hundred times as long as loading its bytecode, and a
session is forked for each event. It is made in a process that is thrown away, like what `preload` tries:
nothing of the project runs there, but its source is whatever it is. What is not here (a file that warns when
it is compiled, an older version of the semantics) is compiled by each session. Standard library only.
"""

import base64
import hashlib
import marshal
import re
import sys
import time
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from types import CodeType

from ninelives.run import calltable, instrument, semantics

#: Larger files are data. bytes
SOURCE_LIMIT = 2_000_000
#: What all builds together may take in this process. bytes
_ROOM = 64 * 1024 * 1024
#: What is not compiled by then is left to the sessions. seconds
_PATIENCE = 5.0

_IMPORT = re.compile(rb"^\s*(?:import|from)\s+(\w+)", re.MULTILINE | re.ASCII)

_builds: OrderedDict[str, dict[str, bytes]] = OrderedDict()


def compiled(source: bytes, filename: str, build: str, *, is_durable: bool) -> CodeType:
    """Return a module's compiled code: what was made ahead, or made now.

    Args:
        source: What the file holds.
        filename: The name that tracebacks show.
        build: The resolved directory of the build that a session runs.
        is_durable: Whether its calls are rewritten.

    Raises:
        SyntaxError, ValueError: It cannot be compiled.
    """
    ready = _builds.get(build, {}).get(_key(source, filename, is_durable=is_durable))
    if ready is not None:
        code = marshal.loads(ready)  # noqa: S302 - we wrote it
        assert isinstance(code, CodeType)
        return code
    fresh = instrument.compile_source(source, filename, is_durable=is_durable)
    assert isinstance(fresh, CodeType)
    return fresh


def of_build(build: str) -> dict[str, str]:
    """Compile a build's modules, and those libraries it imports that are rewritten too.

    Args:
        build: The resolved directory.

    Returns:
        What `keep` takes; JSON can carry it.
    """
    end = time.monotonic() + _PATIENCE
    own = dict(_sources(sorted(Path(build).rglob("*.py"))))
    libraries = {top for source in own.values() for top in _rewritten_in(source)}
    others = dict(_sources(file for top in sorted(libraries) for file in _files_of(top)))
    found: dict[str, str] = {}
    for sources, is_durable in ((own, True), (others, True), (own, False)):
        for file, source in sources.items():
            if time.monotonic() > end:
                return found
            code = _quietly(source, file, is_durable=is_durable)
            if code is not None:
                key = _key(source, file, is_durable=is_durable)
                found[key] = base64.b64encode(marshal.dumps(code)).decode()
    return found


def keep(build: str, codes: Mapping[str, str]) -> None:
    """Keep what `of_build` has made; the builds that came first go when there is no more room."""
    _builds[build] = {key: base64.b64decode(code) for key, code in codes.items()}
    while len(_builds) > 1 and sum(len(code) for kept in _builds.values() for code in kept.values()) > _ROOM:
        _builds.popitem(last=False)


def _sources(files: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    for file in files:
        if file.is_file() and file.stat().st_size <= SOURCE_LIMIT:
            yield str(file), file.read_bytes()


def _rewritten_in(source: bytes) -> set[str]:
    """Return which of the libraries that are rewritten a source may import; it need not be a source."""
    return {name.decode() for name in _IMPORT.findall(source)} & calltable.REWRITTEN


def _files_of(top: str) -> Iterator[Path]:
    spec = PathFinder.find_spec(top)
    if spec is not None and spec.submodule_search_locations:
        for place in spec.submodule_search_locations:
            yield from sorted(Path(place).rglob("*.py"))
    elif spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
        yield Path(spec.origin)


def _quietly(source: bytes, filename: str, *, is_durable: bool) -> CodeType | None:
    """Compile a module, unless it cannot be or warns: its sessions have to see that, each of them."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            code = instrument.compile_source(source, filename, is_durable=is_durable)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    return code if isinstance(code, CodeType) and not said else None


def _key(source: bytes, filename: str, *, is_durable: bool) -> str:
    rules = f"{sys.implementation.cache_tag}-{instrument.VERSION}-{semantics.version()}-{int(is_durable)}"
    return hashlib.sha256(f"{rules}-{filename}\0".encode() + source).hexdigest()
