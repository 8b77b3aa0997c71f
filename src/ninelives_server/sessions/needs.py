"""What a worker must have to go on with a session: only what made its records reads them."""

from collections.abc import Collection
from typing import NamedTuple

from ninelives.run import semantics


class Needs(NamedTuple):
    """What the records of a session ask for; a session without records asks for nothing of it.

    Attributes:
        python: The minor version of Python that made them (`3.11`); empty for any.
        semantics: The version of the rules by which they are read; `None` for any.
    """

    python: str = ""
    semantics: int | None = None

    def are_met_by(self, kind: "Kind") -> bool:
        """Tell whether such a worker can go on with the session; one that names no Python is trusted to."""
        reads = not self.python or kind.python in {"", self.python}
        return reads and (self.semantics is None or self.semantics in kind.carried)


#: What most sessions need.
ANYTHING = Needs()


class Kind(NamedTuple):
    """What a worker has.

    Attributes:
        python: Its minor version of Python; empty where it did not say.
        carried: The versions of the semantics that its release has.
    """

    python: str
    carried: frozenset[int]


def reason(needs: Needs, kinds: Collection[Kind]) -> str:
    """Say to people why none of these workers gets a session; empty where one of them can have it."""
    if any(needs.are_met_by(kind) for kind in kinds):
        return ""
    lacks_python = not any(needs._replace(semantics=None).are_met_by(kind) for kind in kinds)
    lacks_rules = not any(needs._replace(python="").are_met_by(kind) for kind in kinds)
    is_either = lacks_python or lacks_rules
    asked, there = [], []
    if needs.python and (lacks_python or not is_either):
        asked.append(f"Python {needs.python}")
        there.append(f"have {', '.join(sorted({kind.python for kind in kinds}))}")
    if needs.semantics is not None and (lacks_rules or not is_either):
        asked.append(f"semantics version {needs.semantics}")
        carried = frozenset[int]().union(*(kind.carried for kind in kinds))
        there.append(f"carry {semantics.words(carried)}")
    if not kinds:
        return f"needs {' and '.join(asked)}; no worker is connected"
    together = "" if is_either else ", none of them both"
    return f"needs {' and '.join(asked)}; connected workers {' and '.join(there)}{together}"
