"""Values that mean something by being themselves: nobody's copy of them is the same."""

import dataclasses
import inspect

import httpx2

import ninelives

MISSING = object()


class Unset:
    def __repr__(self):
        return "UNSET"


UNSET = Unset()


class Settings:
    NOTHING = object()


@dataclasses.dataclass
class Lead:
    owner: object = MISSING
    stage: object = UNSET
    source: object = Settings.NOTHING


@ninelives.step
def lead():
    return Lead()


@ninelives.step
def of_libraries():
    return dataclasses.MISSING, httpx2.USE_CLIENT_DEFAULT, inspect.Parameter.empty, NotImplemented, ...


@ninelives.step
def clear(target):
    target.owner = target.stage = None
    target.source = UNSET


def main(event):
    found = lead()
    print(found.owner is MISSING, found.stage is UNSET, found.source is Settings.NOTHING)
    clear(found)
    print(found.owner, found.source is UNSET)
    missing, default, empty, *rest = of_libraries()
    print(missing is dataclasses.MISSING, default is httpx2.USE_CLIENT_DEFAULT, empty is inspect._empty)
    return rest == [NotImplemented, ...]
