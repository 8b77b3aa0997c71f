"""Values in arguments: text, `-` (standard input), `@path` or `env:NAME`.

A secret is never plain text in argv: other users of a machine can read it there.
"""

import os
import sys
from pathlib import Path

from ninelives_server.cli.client import USAGE, fail


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
