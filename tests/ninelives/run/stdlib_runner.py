"""Runs one of CPython's own test modules, as it is or rewritten, and prints what became of each test."""

import builtins
import importlib.util
import json
import sys
import types
import unittest
from pathlib import Path

from ninelives.run import instrument
from ninelives.run.settled import Settled

HOOKS = (
    instrument.CALL,
    instrument.METHOD,
    instrument.ITEMS,
    instrument.ASYNC_ITEMS,
    instrument.ENTER,
    instrument.ASYNC_ENTER,
)


class Results(unittest.TestResult):
    """Remembers the outcome of each test."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, str] = {}
        self.asked = 0

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.outcomes[test.id()] = "ok"

    def addError(self, test, err):
        self.outcomes[test.id()] = f"error {err[0].__name__}"

    def addFailure(self, test, err):
        self.outcomes[test.id()] = "failure"

    def addSkip(self, test, reason):
        self.outcomes[test.id()] = "skipped"

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.outcomes[test.id()] = f"subtest {err[0].__name__}"


def main(name: str, is_durable: bool) -> None:
    asked = 0

    def identity(thing):
        nonlocal asked
        asked += 1
        return thing

    settled = Settled(lambda cls: cls.__module__ == name)

    def method(thing):
        if type(thing) is types.MethodType and isinstance(thing.__func__, types.FunctionType):
            settled.settle(thing)
        return identity(thing)

    for hook in HOOKS:
        setattr(builtins, hook, identity)
    setattr(builtins, instrument.METHOD, method)
    setattr(builtins, instrument.TYPE, type)
    setattr(builtins, instrument.MODULE, settled.declare)
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    code = instrument.compile_source(Path(spec.origin).read_bytes(), spec.origin, is_durable=is_durable)
    module = types.ModuleType(name)
    module.__spec__, module.__file__, module.__package__ = spec, spec.origin, name.rpartition(".")[0]
    sys.modules[name] = module
    exec(code, module.__dict__)
    results = Results()
    unittest.defaultTestLoader.loadTestsFromModule(module).run(results)
    sys.__stdout__.write("\n" + json.dumps({"outcomes": results.outcomes, "asked": asked}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "rewritten")
