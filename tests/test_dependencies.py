"""What the program imports is what its installation brings: a development environment hides what is missing."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Brought by what is declared, and a part of its interface.
OF_OTHERS = {"starlette": "fastapi", "markupsafe": "jinja2", "protobuf": "temporalio"}
#: Imported where the user's own environment has it.
OF_USERS = {"pytest"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    """Return the distributions of the extra `server`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {
        normal(re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0])
        for line in project["optional-dependencies"]["server"]
    }


def imported() -> dict[str, str]:
    """Return each top-level module that the server imports, with one file that does.

    The SDK imports nothing but the standard library, which `make layers` checks, and what it finds in a
    project's own environment.
    """
    found = {}
    for path in (ROOT / "src" / "ninelives_server").rglob("*.py"):
        if "examples" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += (
                [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            )
            found |= {name.partition(".")[0]: str(path.relative_to(ROOT)) for name in names}
    return found


def test_everything_that_is_imported_is_declared():
    """
    A wheel in an empty environment has the extra's distributions and nothing else.
    """
    known = declared() | {normal(name) for name in OF_OTHERS} | OF_USERS
    made_by = packages_distributions()
    missing = {
        module: path
        for module, path in imported().items()
        if module not in sys.stdlib_module_names
        and module not in {"ninelives", "ninelives_server"}
        and not known & {normal(name) for name in made_by.get(module, [module])}
    }

    assert missing == {}
