"""The examples of the documentation, as they stand in its pages."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: All that people read. The reference of the commands is made from the code, examples included.
PAGES = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
)
MADE_FROM_CODE = {"docs/reference/cli.md", "docs/reference/call-table.md"}

_BLOCK = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`(ninelives [a-z][^`]+)`")
_PROGRAM = re.compile(r"(?:\$ )?(ninelives|make) ")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        name: Page and place among the blocks of the page, as tests call it: `guides/waiting.md 2`.
    """

    name: str
    page: str
    language: str
    text: str

    @property
    def kind(self) -> str:
        """`python`, `yaml`, `shell`; else `text`, for people."""
        if self.language in {"python", "yaml"}:
            return self.language
        is_shell = self.language in {"bash", "sh", "console"} or _PROGRAM.match(self.text)
        return "shell" if is_shell else "text"

    def commands(self) -> list[str]:
        """Return what is typed in a shell, without what is printed."""
        lines = self.text.splitlines()
        if any(line.startswith("$ ") for line in lines):
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line.strip() for line in lines if line.strip()]


def blocks() -> list[Block]:
    """Return all blocks of all pages that are written by hand."""
    found = []
    for page in PAGES:
        path = str(page.relative_to(ROOT))
        if path in MADE_FROM_CODE:
            continue
        for n, match in enumerate(_BLOCK.finditer(page.read_text(encoding="utf-8")), start=1):
            indent, language, text = match.groups()
            text = re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
            found.append(Block(f"{path.removeprefix('docs/')} {n}", path, language, text))
    return found


def spans(paths: Iterable[Path]) -> list[tuple[str, str]]:
    """Return the commands that a text names in passing, each with where it stands."""
    return [
        (str(path.relative_to(ROOT)), command)
        for path in paths
        for command in sorted(set(_SPAN.findall(path.read_text(encoding="utf-8"))))
    ]


def typed(line: str) -> list[list[str]]:
    """Return the words of each command of a line.

    Of what is optional (`[--kill]`) everything is taken, of alternatives the first, and where alternatives are
    words of their own (`activate | delete`) each makes a command.
    """
    found = []
    for command in re.split(r" && ", line):
        first, *others = command.split(" | ")
        words = [_plain(word) for word in shlex.split(first, comments=True)]
        found += [words, *([*words[:-1], _plain(other.strip())] for other in others)]
    return [words for words in found if words]


def _plain(word: str) -> str:
    word = re.sub(r"^\[|\]$", "", word)
    return "1" if word in {"N", "SECONDS"} else word.split("|")[0]
