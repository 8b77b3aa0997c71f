"""Finds what the call table says of a name, by the rules that this process keeps to (`semantics`)."""

from functools import cache

from ninelives.run import calltable, semantics
from ninelives.run.calltable import Kind

#: For a class these are about making one; its methods are looked up further.
_OF_THE_CLASS_ALONE = frozenset({Kind.INSPECT, Kind.OPENS, Kind.RUNS, Kind.KEEPS})


def kind_of(module: str, qualname: str, extra: dict[str, Kind] | None = None) -> Kind:
    """Return what becomes of a call, by the names of the callable and its module."""
    module = calltable.ALIASES.get(module, module)
    ours = _table_of(semantics.version())
    tables = (extra, ours) if extra else (ours,)
    parts = qualname.split(".")
    for end in range(len(parts), 0, -1):
        name = f"{module}.{'.'.join(parts[:end])}"
        for table in tables:
            kind = table.get(name)
            if kind is not None and (end == len(parts) or kind not in _OF_THE_CLASS_ALONE):
                return kind
    return _of_module(module, tables)


@cache
def _table_of(version: int) -> dict[str, Kind]:
    """Return the table as it was in a version."""
    found: dict[str, Kind | None] = dict(calltable.TABLE)
    for changed in sorted(calltable.BEFORE, reverse=True):
        if changed > version:
            found.update(calltable.BEFORE[changed])
    return {name: kind for name, kind in found.items() if kind is not None}


def _of_module(module: str, tables: tuple[dict[str, Kind], ...]) -> Kind:
    if (kind := tables[-1].get(f"{module}.*")) is not None:
        return kind
    while module:
        for table in tables:
            if module in table:
                return table[module]
        module = module.rpartition(".")[0]
    return Kind.STEP
