"""Known secrets, and the names that stand for them wherever people or digests look.

A session's variables may hold secrets; what is shown of it must not. A digest must not change either when a
token is replaced by a newer one, so there too the name stands for the value.
"""

import re
import threading
from collections.abc import Iterable, Mapping, Sequence

#: What a secret is called that belongs to no variable.
_NAMELESS = "secret"


class Masks:
    """The secrets of one session. Safe to use from several threads."""

    def __init__(self, secrets: Iterable[str] = (), names: Mapping[str, str] | None = None) -> None:
        self._names: dict[str, str] = {value: _NAMELESS for value in secrets if value}
        self._names.update({value: name for value, name in (names or {}).items() if value})
        self._lock = threading.Lock()
        self._compile()

    def _compile(self) -> None:
        # The longest first: one secret may contain another.
        values = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, values))) if values else None
        self._bytes = tuple(value.encode() for value in values)

    def add(self, value: str, name: str) -> None:
        """Mask another value from now on."""
        with self._lock:
            if value and self._names.get(value) != name:
                self._names[value] = name
                self._compile()

    def text(self, text: str) -> str:
        """Return the text with `[NAME]` in the place of each secret."""
        pattern = self._pattern
        if pattern is None or pattern.search(text) is None:
            return text
        return pattern.sub(lambda match: f"[{self._names[match.group()]}]", text)

    def parts(self, text: str) -> tuple[str, ...] | None:
        """Return a text as pieces, every other one the name of the secret in its place.

        `None`: there is none in it, or one without a name of its own, which could not be put back.
        """
        pattern = self._pattern
        if pattern is None or pattern.search(text) is None:
            return None
        found: list[str] = []
        at = 0
        for match in pattern.finditer(text):
            name = self._names[match.group()]
            if name == _NAMELESS:
                return None
            found += [text[at : match.start()], name]
            at = match.end()
        return (*found, text[at:])

    def joined(self, parts: Sequence[str]) -> str:
        """Return the text that `parts` took apart, with the newest value of each name."""
        newest = {name: value for value, name in self._names.items()}
        return "".join(
            newest.get(piece, f"[{piece}]") if index % 2 else piece for index, piece in enumerate(parts)
        )

    def occur_in(self, data: bytes) -> bool:
        """Tell whether a secret is among these bytes."""
        return any(secret in data for secret in self._bytes)

    def everywhere(self, value: object) -> object:
        """Return JSON data with every text in it masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.everywhere(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.everywhere(item) for item in value]
        return value
