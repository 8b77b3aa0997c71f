"""Values in arguments: text, `-` (standard input), `@path` or `env:NAME`.

A secret is never plain text in argv: other users of a machine can read it there.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from ninelives_server.cli.client import USAGE, fail


def read_json(text: str, *, what: str) -> Any:
    """Return what a JSON text holds.

    Raises:
        json.JSONDecodeError: It is no JSON.
        Stop: It is, and holds what cannot be read.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        fail(f"{what} is nested too deeply", USAGE)
    except ValueError as error:  # a number with too many digits
        fail(f"{what} cannot be read: {error}", USAGE)


def value_of(argument: str, *, what: str, secret: bool) -> str:
    """Return the value that an argument stands for.

    Args:
        argument: As typed.
        what: Name of the field, for messages.
        secret: Whether plain text is refused, because other users of a machine can read arguments.
    """
    if argument == "-":
        try:
            return sys.stdin.read().rstrip("\n")
        except UnicodeDecodeError:
            fail(f"{what}: standard input is no text in UTF-8", USAGE)
    if argument.startswith("@"):
        try:
            return Path(argument[1:]).read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            fail(f"{what}: {argument[1:]!r} cannot be read: {error.strerror}", USAGE)
        except UnicodeDecodeError:
            fail(f"{what}: {argument[1:]!r} is no text in UTF-8", USAGE)
    if argument.startswith("env:"):
        name = argument.removeprefix("env:")
        if name not in os.environ:
            fail(f"{what}: the environment has no {name}", USAGE)
        return os.environ[name]
    if secret:
        fail(
            f"{what} is secret and other users can read a command's arguments; "
            "give - (standard input), @path or env:NAME in its place",
            USAGE,
        )
    return argument
