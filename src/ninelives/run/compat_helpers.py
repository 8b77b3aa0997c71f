"""What connection helpers of the package `autokitteh` need of this session beside their variables."""

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from ninelives.connections import check_name
from ninelives.errors import ConnectionNotReady, NotSupported


def encode_jwt(payload: Mapping[str, int], connection: str, algorithm: str) -> str:
    """Sign a JWT with the private key of a connection's own GitHub App.

    AutoKitteh signs with the key of its server's app. Here each connection has its own app, and its key.

    Raises:
        ConnectionNotReady: The connection has no private key.
        NotSupported: It is another algorithm than RS256.
    """
    key = os.environ.get(f"{check_name(connection)}__private_key")
    if not key:
        raise ConnectionNotReady(
            f"connection {connection!r} has no private key to sign with; set it up with auth mode app"
        )
    if algorithm != "RS256":
        raise NotSupported(f"encode_jwt signs with RS256, not with {algorithm}")
    signed: str = importlib.import_module("jwt").encode(dict(payload), key, algorithm=algorithm)
    return signed


def install_package(specifier: str, import_name: str) -> None:
    """Check that a package can be imported: a session's environment is pinned and does not change.

    Raises:
        RuntimeError: It cannot; the message says where it belongs.
    """
    if importlib.util.find_spec(import_name) is None:
        raise RuntimeError(
            f"can't install {specifier!r} while a session runs, in the environment that it was built with; "
            f"add a line {specifier!r} to requirements.txt and deploy again"
        )


def openai_provider(module: ModuleType) -> Callable[..., Any]:
    """Return the helper with its variable in place: the original reads one without `__`, by a slip."""
    original: Callable[..., Any] = module.openai_pydantic_ai_provider

    def openai_pydantic_ai_provider(connection: str, **options: Any) -> Any:
        prefix = f"{connection}__"
        found = os.environ.get(f"{prefix}api_key") or os.environ.get(f"{prefix}apiKey")
        if found:
            os.environ.setdefault(f"{connection}api_key", found)
        return original(connection, **options)

    openai_pydantic_ai_provider.__module__ = module.__name__
    return openai_pydantic_ai_provider
