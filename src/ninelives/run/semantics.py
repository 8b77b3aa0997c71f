"""The version of the rules by which a session's journal is read: which runtime can go on with which session.

A session keeps to the version that it began with. The rules are the call table (`calltable`), keys and
digests (`digest`) and the format of records (`codec`, `wire`). Whoever changes what a running session's code
comes to under them gives the version a new number here, keeps the old rules beside the new ones, and takes an
old number out of `CARRIED` twelve months after its release.
"""

from typing import Final

#: What new sessions begin with.
CURRENT: Final = 1
#: What this release can go on with.
CARRIED: Final = frozenset({CURRENT})


def words(carried: frozenset[int]) -> str:
    """Return versions as people read them: `1, 2`."""
    return ", ".join(map(str, sorted(carried)))
