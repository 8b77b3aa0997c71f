"""Open files: what is recorded of them, and how they are opened again where they stood."""

import io
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ninelives.errors import LiveValueLost
from ninelives.run import memory

_FILES = (io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.FileIO)


def is_file(value: object) -> bool:
    """Tell whether a value is an open file, or the like of one: what stands for one, a pipe; no buffer."""
    return isinstance(value, _FILES) and not memory.is_buffer(value)


def about(value: Any) -> dict[str, Any]:
    """Return what is recorded of a file; of a pipe, or text over a compressed file, whether it is written."""
    with suppress(AttributeError, OSError, ValueError):
        name = value.name
        if isinstance(name, str) and isinstance(_raw(value), io.FileIO):
            return {"what": "file", "file": state(value)}
    with suppress(AttributeError, OSError, ValueError):
        return {"writes": bool(value.writable())}
    return {}


def _raw(value: Any) -> Any:
    buffer = value.buffer if isinstance(value, io.TextIOWrapper) else value
    return buffer if isinstance(buffer, io.FileIO) else buffer.raw


def position(value: Any) -> dict[str, Any] | None:
    """Flush a file and return where it stands, to be recorded with a step on it."""
    try:
        if not value.closed:
            value.flush()
        return state(value)
    except (AttributeError, OSError, ValueError):
        return None


def tell(value: Any) -> int | None:
    """Return where something that is read stands; `None` where it does not say."""
    try:
        return int(value.tell())
    except (AttributeError, OSError, ValueError):
        return None


def state(value: Any) -> dict[str, Any]:
    """Return where a file is, how it was opened, and where it stands."""
    found = {
        "path": os.path.abspath(value.name),  # noqa: PTH100
        "mode": value.mode,
        "position": None if value.closed else value.tell(),
        "closed": value.closed,
    }
    if isinstance(value, io.TextIOWrapper):
        found |= {"encoding": value.encoding, "errors": value.errors}
    return found


def directory(name: str) -> "tempfile.TemporaryDirectory[str]":
    """Make a temporary directory of a given name; it is there, but empty where it was lost."""
    made = tempfile.TemporaryDirectory()
    made.cleanup()
    made.name = name
    Path(name).mkdir(0o700, parents=True, exist_ok=True)
    return made


def reopen(state: Mapping[str, Any], step: str, seq: int) -> Any:
    """Open a file again without truncating it, where it stood.

    Raises:
        LiveValueLost: It is gone.
    """
    mode = state["mode"].replace("w", "r+").replace("x", "r+").replace("++", "+")
    text = {key: state[key] for key in ("encoding", "errors") if key in state}
    try:
        file = open(state["path"], mode, **text)  # noqa: SIM115, PTH123
    except FileNotFoundError as error:
        raise LiveValueLost(
            f"{state['path']}, which step {step} (record {seq}) had opened, is gone: a session's working "
            "directory does not survive its process; keep data in the store, or in a file service"
        ) from error
    if state["closed"]:
        file.close()
    elif state["position"] is not None and "a" not in mode:
        file.seek(state["position"])
    return file
