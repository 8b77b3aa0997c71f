"""What is wrong with a project's files, collected: people see all of it at once, each with file and line."""

import difflib
from collections.abc import Iterable

from ninelives_server.errors import Invalid

_SHOWN = 20


class Problems:
    """Collects messages of the form `ninelives.yaml:14: …`."""

    def __init__(self) -> None:
        self._found: list[tuple[str, int, str]] = []

    def add(self, file: str, line: int, message: str) -> None:
        """Note that something is wrong in a line of a file; lines count from 1."""
        self._found.append((file, line, message))

    def stop_if_any(self) -> None:
        """Raise all of them as one error, in the order of lines.

        Raises:
            Invalid: There is at least one problem.
        """
        if self._found:
            found = [f"{file}:{line}: {message}" for file, line, message in sorted(self._found)]
            more = [f"… and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
            raise Invalid("\n".join(found[:_SHOWN] + more), code="manifest_invalid")


def nearest(wrong: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, or `; there is a, b, c`, or nothing."""
    words = sorted(known)
    close = difflib.get_close_matches(wrong, words, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(words[:12])}{', …' if len(words) > 12 else ''}" if words else ""
