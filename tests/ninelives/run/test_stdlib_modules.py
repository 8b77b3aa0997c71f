"""CPython's own tests of the language come to the same when they are rewritten."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).with_name("stdlib_runner.py")
#: What the interpreter's own tests say of the grammar, and of modules that are written in Python.
MODULES = (
    "abc asyncgen augassign base64 binop bisect bool call class colorsys compare configparser contextlib "
    "contextlib_async copy coroutines csv dataclasses decorators defaultdict descr dictcomps difflib enum "
    "enumerate except_star exception_group extcall fnmatch format fractions fstring functools genexps generators "
    "getopt grammar graphlib heapq html htmlparser index ipaddress iter keywordonlyarg list listcomps metaclass "
    "named_expressions operator patma positional_only_arg pprint property raise range reprlib scope setcomps "
    "shlex slice string string_literals super textwrap traceback types unpack unpack_ex userdict with yield_from"
).split()


def is_here(name: str) -> bool:
    """Tell whether this Python has the module; Debian leaves them out."""
    try:
        return importlib.util.find_spec(f"test.test_{name}") is not None
    except ModuleNotFoundError:
        return False


def outcomes(name: str, how: str) -> dict[str, object]:
    """Run a module's tests in a process of their own."""
    done = subprocess.run(
        [sys.executable, str(RUNNER), f"test.test_{name}", how],
        capture_output=True,
        text=True,
        timeout=150,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", [name for name in MODULES if is_here(name)])
def test_a_test_module_of_the_interpreter_comes_to_the_same_when_it_is_rewritten(name):
    """Each of its tests has the outcome that it has in plain Python; calls were asked about."""
    plain = outcomes(name, "plain")
    rewritten = outcomes(name, "rewritten")

    assert rewritten["outcomes"] == plain["outcomes"]
    assert rewritten["outcomes"]
    assert plain["asked"] == 0
    assert rewritten["asked"]
