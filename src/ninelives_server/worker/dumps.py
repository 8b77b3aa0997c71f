"""What `faulthandler` writes of a session's process before it is killed: where each of its threads stands.

The process itself can only write all frames with whole paths; here it becomes what the code's author can use.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

_THREAD = re.compile(r"^(?:Current thread|Thread) 0x[0-9a-f]+ .*:$")
_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+) in (?P<function>.+)$')
_OURS = "/ninelives/run/"


def readable(text: str, roots: Iterable[Path]) -> str:
    """Leave out our own frames, and threads that are ours alone; name files of the build as it does.

    Args:
        text: The end of what a process wrote; all that is no dump stays as it is.
        roots: Where the build's files were for the process.
    """
    places = [f"{root}/" for root in roots]
    return "\n".join(line for lines in _parts(text.split("\n")) for line in _shown(lines, places))


def stood(text: str, roots: Iterable[Path]) -> str | None:
    """Return where in the build's code a process stood, as `main.py:9, in loop`, if it says so."""
    for line in readable(text, roots).splitlines():
        frame = _FRAME.match(line)
        if frame is not None and not frame["file"].startswith(("/", "<")):
            return f"{frame['file']}:{frame['line']}, in {frame['function']}"
    return None


def _parts(lines: list[str]) -> Iterator[list[str]]:
    """Yield the lines of each thread together; what stands before the first is a part, too."""
    number = 0

    def part(line: str) -> int:
        nonlocal number
        number += _THREAD.match(line) is not None
        return number

    for _, found in groupby(lines, part):
        yield list(found)


def _shown(lines: list[str], places: list[str]) -> list[str]:
    if not _THREAD.match(lines[0]):
        return lines
    others = [line for line in lines if not ((frame := _FRAME.match(line)) and _OURS in frame["file"])]
    shown = [_named(line, places) for line in others]
    is_ours = len(others) < len(lines) and shown == others  # none of the build's files is in it
    return [] if is_ours else shown


def _named(line: str, places: list[str]) -> str:
    for place in places:
        if line.startswith(f'  File "{place}'):
            return f'  File "{line.removeprefix(f"""  File "{place}""")}'
    return line
