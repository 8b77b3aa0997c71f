"""The project's key-value data: kept by the server, shared by all sessions of the project.

Values are JSON. Every change happens exactly once, whatever crashes.
"""

from collections.abc import Iterator, MutableMapping
from typing import Any

from ninelives import host


def _ask(name: str, /, **args: Any) -> Any:
    return host.required(f"ninelives.{name.replace('store.', '')}_value").call(name, args)


def get_value(key: str) -> Any:
    """Return a value, or `None` where there is none."""
    return _ask("store.get", key=key)


def set_value(key: str, value: Any) -> None:
    """Store a value."""
    _ask("store.set", key=key, value=value)


def del_value(key: str) -> None:
    """Delete a value; it need not exist."""
    _ask("store.del", key=key)


def add_value(key: str, value: float) -> Any:
    """Add to a number, atomically, and return the sum; a missing one counts as nothing."""
    return _ask("store.add", key=key, value=value)


def check_and_set_value(key: str, expected: Any, value: Any) -> bool:
    """Store a value if the current one is as expected (`None`: missing), atomically; tell whether it was."""
    return bool(_ask("store.check_and_set", key=key, expected=expected, value=value))


def list_keys() -> list[str]:
    """Return all keys, sorted."""
    return list(_ask("store.list"))


def publish_value(key: str) -> None:
    """Let anybody read a value at `/store/{project}/{key}`."""
    _ask("store.publish", key=key)


def unpublish_value(key: str) -> None:
    """Take back `publish_value`."""
    _ask("store.unpublish", key=key)


class Store(MutableMapping[str, Any]):
    """The same data as a dictionary. Reading and then writing is not atomic."""

    def __getitem__(self, key: str) -> Any:
        value = get_value(key)
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        set_value(key, value)

    def __delitem__(self, key: str) -> None:
        del_value(key)

    def __iter__(self) -> Iterator[str]:
        return iter(list_keys())

    def __len__(self) -> int:
        return len(list_keys())


store = Store()
