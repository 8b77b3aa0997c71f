"""The control methods of an org in another process, over HTTP."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx2


class ControlFailed(Exception):
    """The org refused a control request."""


class ControlClient:
    """Has every method of `desk.Desk`, by name; positional arguments are not taken."""

    def __init__(self, control_url: str, ca_file: Path) -> None:
        context = ssl.create_default_context(cafile=str(ca_file))
        self._url = control_url
        self._client = httpx2.Client(verify=context, timeout=90, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(**arguments: Any) -> Any:
            response = self._client.post(f"{self._url}/{name}", json=arguments)
            if response.status_code != 200:
                raise ControlFailed(response.json().get("error", response.text))
            return response.json()

        return call
