"""Finds the integrations: each folder of `providers` with a module `integration.py`, each file of `catalog`.

Nothing imports a provider by name, so adding one touches nothing outside its own folder or TOML file.
"""

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from ninelives_server.errors import Invalid
from ninelives_server.integrations.contract import AuthMode, Integration
from ninelives_server.integrations.declarative import Declarative
from ninelives_server.integrations.streams import Source

PROVIDERS = "ninelives_server.providers"


class Registry:
    """The integrations of this server, by name."""

    def __init__(self, integrations: Iterable[Integration], *, package: str = PROVIDERS) -> None:
        self._by_name = {integration.name: integration for integration in integrations}
        self._aliases = {alias: i.name for i in self._by_name.values() for alias in i.aliases}
        self._package = package

    @classmethod
    def load(cls, package: str = PROVIDERS) -> "Registry":
        """Load every provider of a package: the object `integration` of its module `integration`, and data.

        Raises:
            Invalid: A file of the catalogue is wrong.
        """
        return cls([*map(Declarative.load, catalogue(package)), *coded(package)], package=package)

    def get(self, name: str) -> Integration:
        """Return an integration, by its name or an alias.

        Raises:
            Invalid: There is none of this name; the message lists those that there are.
        """
        try:
            return self._by_name[self._aliases.get(name, name)]
        except KeyError:
            known = ", ".join(sorted(self._by_name)) or "none"
            raise Invalid(
                f"there is no integration {name!r}; there is {known}",
                fields={"integration": f"there is no integration {name!r}"},
            ) from None

    def all(self) -> Sequence[Integration]:
        """Return all integrations, by name."""
        return [self._by_name[name] for name in sorted(self._by_name)]

    def names(self) -> frozenset[str]:
        """Return every name that a manifest may use, aliases included."""
        return frozenset({*self._by_name, *self._aliases})

    def mode(self, integration: str, auth_mode: str | None = None) -> AuthMode:
        """Return one auth mode of an integration; the first one where none is named.

        Raises:
            Invalid: There is no such integration, or it has no such mode.
        """
        modes = self.get(integration).auth_modes
        if auth_mode is None:
            return modes[0]
        for mode in modes:
            if mode.name == auth_mode:
                return mode
        known = ", ".join(mode.name for mode in modes)
        raise Invalid(
            f"{integration} has no auth mode {auth_mode!r}; it has {known}",
            fields={"auth_mode": f"there is no auth mode {auth_mode!r}"},
        )

    def source(self, name: str) -> Source | None:
        """Return the source of events of an integration, or `None` where it has none."""
        module = f"{self._package}.{self.get(name).name}.events"
        if isinstance(self.get(name), Declarative) or importlib.util.find_spec(module) is None:
            return None
        source: Source = importlib.import_module(module).source
        return source


def catalogue(package: str = PROVIDERS) -> list[Path]:
    """Return the files of the integrations that are data."""
    paths = importlib.import_module(package).__path__
    return [file for path in paths for file in sorted(Path(path, "catalog").glob("*.toml"))]


def coded(package: str = PROVIDERS) -> list[Integration]:
    """Return the integrations that are code: the object `integration` of each module `integration`."""
    found: list[Integration] = []
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if module.ispkg and importlib.util.find_spec(f"{package}.{module.name}.integration"):
            loaded = importlib.import_module(f"{package}.{module.name}.integration")
            found.append(loaded.integration)
    return found
