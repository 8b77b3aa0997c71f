"""What the program imports is what its installation brings: a development environment hides what is missing."""

import ast
import re
import sys
import tomllib
from importlib.metadata import files, packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Brought by what is declared, and a part of its interface: whoever uses that has the version that fits.
OF_OTHERS = {"starlette": "fastapi", "markupsafe": "jinja2", "pydantic_core": "pydantic"}
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
    """Return each module that the server imports, with one file that does.

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
            found |= {name: str(path.relative_to(ROOT)) for name in names}
    return found


def distributions_of(module: str) -> set[str]:
    """Return the distributions that a module comes from; of several that share a namespace, those that have it.

    `google` is such a namespace: many distributions put something into it.
    """
    top = module.partition(".")[0]
    names = {normal(name) for name in packages_distributions().get(top, [top])}
    if len(names) < 2 or module == top:
        return names
    place = "/".join(module.split("."))
    return {
        name
        for name in names
        if any(str(file).startswith((f"{place}/", f"{place}.")) for file in files(name) or ())
    }


def test_everything_that_is_imported_is_declared():
    """
    A wheel in an empty environment has the extra's distributions and nothing else.
    """
    known = declared() | {normal(name) for name in OF_OTHERS} | OF_USERS
    missing = {
        module: path
        for module, path in imported().items()
        if (top := module.partition(".")[0]) not in sys.stdlib_module_names
        and top not in {"ninelives", "ninelives_server"}
        and not known & distributions_of(module)
    }

    assert missing == {}
    assert set(OF_OTHERS.values()) <= declared()


def test_what_others_bring_anyway_has_to_be_declared_as_well():
    """
    What is imported by name is found with the distribution that has it, not with one of the same namespace.
    """
    assert "google.protobuf" in imported()
    assert distributions_of("google.protobuf.internal") == {"protobuf"}


def test_the_declared_protobuf_can_load_what_was_generated():
    """
    Generated code refuses an older library than that of its generator (protobuf.dev, version support).
    """
    path = ROOT / "src/ninelives_server/providers/salesforce/pb/pubsub_api_pb2.py"
    [generated] = re.findall(r"Protobuf Python Version: ([\d.]+)", path.read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [line] = [item for item in project["optional-dependencies"]["server"] if item.startswith("protobuf")]

    assert line == f"protobuf>={generated}"
