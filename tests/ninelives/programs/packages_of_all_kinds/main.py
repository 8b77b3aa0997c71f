"""Packages of all kinds: with `__init__`, without, found by name, imported late, in a circle, with data."""

from __future__ import annotations
import importlib
import importlib.resources
import pkgutil
import sys
import typing

import app
import app.plugins
from app import core as c, VERSION, lazy_thing
from app.core import *
from ns.one import mod as one
from ns.two.mod import two

if typing.TYPE_CHECKING:
    import nowhere

if __name__ == "__main__":
    print("never")


def main(event: nowhere.Event) -> dict[str, nowhere.X]:
    print(__name__, VERSION, lazy_thing, one.one(event.data.url), two(event.data.url))
    print(sorted(n for n in dir(c) if not n.startswith("_")), public(event.data.url))
    try:
        hidden
    except NameError as e:
        print(e)
    found = {
        m.name: importlib.import_module(f"app.plugins.{m.name}")
        for m in pkgutil.iter_modules(app.plugins.__path__)
    }
    print(sorted(found), [found[k].run(event.data.url) for k in sorted(found)])
    print(importlib.resources.files("app").joinpath("data.json").read_text().strip())
    from app import late

    print(late.late(event.data.url), late.__package__, sys.modules["app.late"] is late)
    from app import late as again

    print(again.COUNT, again is late)
    try:
        importlib.import_module("app.missing")
    except ModuleNotFoundError as e:
        print(e.name)
    print(app.circular_a.b_name(), app.circular_b.a_name())
    m = importlib.reload(late)
    print(m.COUNT, typing.get_type_hints(app.core.typed))
    return {"n": len(found)}
