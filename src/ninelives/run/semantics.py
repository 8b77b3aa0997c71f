"""The version of the rules by which a session's journal is read: which runtime can go on with which session.

A session keeps to the version that it began with. The rules are the call table (`calltable`), keys and
digests (`digest`) and the format of records (`codec`, `wire`). Whoever changes what a running session's code
comes to under them

- gives `CURRENT` a new number and keeps the old one in `CARRIED`, for twelve months after its release;
- writes down in `calltable.BEFORE` what names meant before it, and lets everything else that changed ask
  `is_before` and go on as it did;
- adds the new digests to those that `tests/ninelives/run/test_digest.py` pins, beside the old ones.
"""

from typing import Final

#: What new sessions begin with.
CURRENT: Final = 1
#: What this release can go on with.
CARRIED: Final = frozenset({CURRENT})

_kept_to = CURRENT


def keep_to(version: int) -> None:
    """Have this process go by the rules of a version; it runs one session.

    Raises:
        ValueError: This release does not have them.
    """
    global _kept_to
    if version not in CARRIED:
        raise ValueError(f"this release carries semantics version {words(CARRIED)}, not {version}")
    _kept_to = version


def version() -> int:
    """Return the version by whose rules this process goes."""
    return _kept_to


def is_before(version: int) -> bool:
    """Tell whether this process's session began before a version, so that what that changed is as it was."""
    return _kept_to < version


def words(carried: frozenset[int]) -> str:
    """Return versions as people read them: `1, 2`."""
    return ", ".join(map(str, sorted(carried)))
