"""Tells whether code does what a session's journal says it did, and does nothing itself.

The code is run from the top as in a replay, but nothing is sent and nothing is executed: the first call that
the journal cannot answer is the end, and a good one. So is the first need of a live value, which is not made
again. The network is cut off by the worker.
"""

import os
from collections.abc import Mapping
from typing import Any, NoReturn

from ninelives.errors import Divergence
from ninelives.run.core import Core
from ninelives.run.link import Link
from ninelives.run.lost import Lost
from ninelives.run.past import Past

OK, DIVERGED, FAILED = "ok", "diverged", "failed"
_NOTHING: Mapping[str, Any] = dict.fromkeys(("seq", "strand", "n", "recorded", "called", "file", "line"))


class Check:
    """The end of a process that only checks."""

    def __init__(self, link: Link, past: Past) -> None:
        self._link = link
        self._past = past

    def install(self, core: Core) -> None:
        """End at what the journal cannot answer, and keep frames back."""
        core.on_unanswered = self.good
        Lost.before_making = self.good
        self._link.gate = self._gate

    def _gate(self, head: Mapping[str, Any], is_awaited: bool) -> bool:
        """Drop what is only told, such as prints; nothing further happens once an answer is needed."""
        if is_awaited or head.get("track") == "call":
            self.good()
        return False

    def good(self) -> NoReturn:
        """Report that the code does what it did, as far as the journal goes."""
        self._report(OK, "")

    def ended(self, error: BaseException | None, message: str) -> NoReturn:
        """Report what it means that the code came to its end, with this error or without one."""
        if isinstance(error, Divergence):
            self._report(DIVERGED, message, error.about)
        if error is not None:
            self._report(FAILED, f"the code now ends with {type(error).__qualname__}: {message}")
        left = self._past.first_unused()
        if left is None:
            self.good()
        about = {"seq": left.seq, "recorded": left.name, "called": None}
        words = f"the journal goes on with {left.name} (record {left.seq}), the code now ends without it"
        self._report(DIVERGED, words, about)

    def _report(self, outcome: str, message: str, about: Mapping[str, Any] = _NOTHING) -> NoReturn:
        self._link.gate = lambda _head, _is_awaited: True
        self._link.send({"t": "checked", "outcome": outcome, "message": message, **_NOTHING, **about})
        os._exit(0)
