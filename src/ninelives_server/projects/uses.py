"""Where code names connections and triggers: calls of an SDK's helpers with a name written as text."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_PACKAGES = ("autokitteh", "ninelives")
#: The first argument of a function whose name ends so is a connection.
_FIRST = ("_client", "_pydantic_ai_provider")
#: Functions whose argument with this number is a connection.
_CONNECTION_AT = {
    "bot_token": 0,
    "check_connection_name": 0,
    "encode_jwt": 1,
    "get_base_url": 0,
    "google_creds": 1,
    "refresh_oauth": 1,
}
#: Functions whose first argument is a trigger, or a connection or a trigger.
_SOURCE_FIRST = {"get_webhook_url", "subscribe"}


@dataclass(frozen=True, slots=True)
class Use:
    """A name of a connection or trigger in the code.

    Attributes:
        function: What is called with it.
        may_be_trigger: Whether a trigger's name will do as well.
    """

    file: str
    line: int
    name: str
    function: str
    may_be_trigger: bool


def find(file: str, tree: ast.Module) -> Iterator[Use]:
    """Yield what a file names, as far as it is written as text."""
    imported = _imported(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = _function(node.func, imported)
        position = _position(function)
        if position is None or position >= len(node.args):
            continue
        argument = node.args[position]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            may_be_trigger = function in _SOURCE_FIRST
            yield Use(file, argument.lineno, argument.value, function, may_be_trigger)


def _position(function: str) -> int | None:
    if function in _SOURCE_FIRST or function == "client" or function.endswith(_FIRST):
        return 0
    return _CONNECTION_AT.get(function)


def _imported(tree: ast.Module) -> Mapping[str, str]:
    """Return the names that a file has from an SDK, with what each stands for."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and _is_sdk(node.module) and not node.level:
            found.update({alias.asname or alias.name: alias.name for alias in node.names})
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _is_sdk(alias.name):
                    found[alias.asname or alias.name.partition(".")[0]] = ""
    return found


def _is_sdk(module: str) -> bool:
    return module.partition(".")[0] in _PACKAGES


def _function(called: ast.expr, imported: Mapping[str, str]) -> str:
    """Return the SDK function that is called; empty where it is none."""
    if isinstance(called, ast.Name):
        return imported.get(called.id, "")
    inner = called
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    if isinstance(called, ast.Attribute) and isinstance(inner, ast.Name) and inner.id in imported:
        return called.attr
    return ""
