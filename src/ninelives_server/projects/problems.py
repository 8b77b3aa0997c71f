"""What is wrong or odd in a project's files, collected: all of it is shown at once, with file and line."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ninelives_server.errors import Invalid

_SHOWN = 20


class Severity(StrEnum):
    """`error`: it cannot be deployed; `warning`: it can, and may not do what was meant."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong or odd.

    Attributes:
        line: From 1; 0 where it concerns the whole file or directory.
        rule: One of `rules.RULES`.
    """

    file: str
    line: int
    message: str
    rule: str
    severity: Severity

    def __str__(self) -> str:
        """Return it as compilers do: `ninelives.yaml:14: …`."""
        where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        return f"{where}{self.message}"


class Problems:
    """Collects findings."""

    def __init__(self) -> None:
        self._found: list[Finding] = []

    def add(self, file: str, line: int, message: str, rule: str = "manifest-value") -> None:
        """Note that something is wrong in a line of a file; lines count from 1."""
        self._found.append(Finding(file, line, message, rule, Severity.ERROR))

    def warn(self, file: str, line: int, message: str, rule: str) -> None:
        """Note that something is odd and may be meant."""
        self._found.append(Finding(file, line, message, rule, Severity.WARNING))

    @property
    def findings(self) -> list[Finding]:
        """All of them once, by file and line."""
        return sorted(set(self._found))

    @property
    def warnings(self) -> list[Finding]:
        """Those that keep nothing from being deployed."""
        return [found for found in self.findings if found.severity is Severity.WARNING]

    def stop_if_any(self) -> None:
        """Raise the errors as one, in the order of lines.

        Raises:
            Invalid: There is at least one error.
        """
        errors = [str(found) for found in self.findings if found.severity is Severity.ERROR]
        if errors:
            more = [f"… and {len(errors) - _SHOWN} more"] if len(errors) > _SHOWN else []
            raise Invalid("\n".join(errors[:_SHOWN] + more), code="manifest_invalid")


def nearest(wrong: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, or `; there is a, b, c`, or nothing."""
    words = sorted(known)
    close = difflib.get_close_matches(wrong, words, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(words[:12])}{', …' if len(words) > 12 else ''}" if words else ""
