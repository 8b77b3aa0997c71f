"""Sessions of `project_counter`, which the tests of workers share."""

from typing import Any

from ninelives_server.testing import running


def start(up: running.Up, counter: Any, name: str) -> str:
    """Start a session that counts at `counter`, and return its id."""
    body = {
        "entrypoint": "main.py:work",
        "inputs": {"url": counter.url, "name": name},
        "is_durable": True,
    }
    found: str = up.call("POST", "/projects/counter/sessions", json=body)["id"]
    return found
