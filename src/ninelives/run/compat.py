"""Makes the package `autokitteh` from PyPI speak to this session instead of doing nothing.

Its functions are dummies that AutoKitteh's own runner replaces. We replace them when a module of it is
imported, in the package and in every submodule, so that `from autokitteh.events import subscribe` is the
real one too.
"""

import functools
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import ModuleType
from typing import Any

from ninelives import connections, host, marks, salesforce
from ninelives.errors import NinelivesError, NotSupported
from ninelives.event import AttrDict, Event
from ninelives.run import compat_helpers, compat_messages, compat_store

_PACKAGE = "autokitteh"


class Finder(importlib.abc.MetaPathFinder):
    """Lets others find the package, and replaces what is in a module once it is loaded."""

    def __init__(self, on_mark: Callable[[Any], None]) -> None:
        self._on_mark = on_mark

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return another finder's answer, with a loader that replaces functions."""
        if fullname != _PACKAGE and not fullname.startswith(f"{_PACKAGE}."):
            return None
        spec = _found_by_others(self, fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._on_mark)
        return spec


def _found_by_others(
    finder: Finder, fullname: str, path: Sequence[str] | None, target: ModuleType | None
) -> importlib.machinery.ModuleSpec | None:
    for other in sys.meta_path:
        if other is not finder:
            spec = other.find_spec(fullname, path, target)
            if spec is not None:
                return spec
    return None


class _Loader(importlib.abc.Loader):
    """Loads as the original loader does, and replaces afterwards."""

    def __init__(self, inner: Any, on_mark: Callable[[Any], None]) -> None:
        self._inner = inner
        self._on_mark = on_mark

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._inner.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        if module.__name__ == f"{_PACKAGE}.activities":
            for name in ("activity", "inhibit_activities"):
                setattr(module, name, _noticed(getattr(module, name), self._on_mark))
        replace(module)
        if module.__name__ == _PACKAGE:
            # The original's runner has imported it: projects use `autokitteh.connections` without an import.
            importlib.import_module(f"{_PACKAGE}.connections")


def install(on_mark: Callable[[Any], None]) -> None:
    """Replace from now on; `on_mark` is given each function that a decorator of the package marks."""
    sys.meta_path.insert(0, Finder(on_mark))


def replace(module: ModuleType) -> None:
    """Replace the functions that a module of the package defines."""
    names = _BY_MODULE.get(module.__name__)
    if names is None:
        return
    for name, found in names(module).items():
        if hasattr(module, name):
            if not isinstance(found, type):
                found.__name__ = name
                found.__doc__ = getattr(module, name).__doc__
            setattr(module, name, found)


def _noticed(decorator: Callable[..., Any], on_mark: Callable[[Any], None]) -> Callable[..., Any]:
    """Return a decorator that tells of what it marks."""

    @functools.wraps(decorator)
    def noticed(fn: Any) -> Any:
        on_mark(getattr(fn, "__func__", fn))
        return decorator(fn)

    return noticed


def _translated(function: Callable[..., Any], error_class: Callable[[str], Exception]) -> Callable[..., Any]:
    """Return a function whose errors are of the package's own class, as its users expect."""

    def translated(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except NinelivesError as error:
            raise error_class(str(error)) from error
        except KeyError as error:
            raise error_class(str(error.args[0])) from error

    translated.__module__ = _PACKAGE
    return translated


def _kitteh_error(text: str) -> Exception:
    made: Exception = sys.modules["autokitteh.errors"].AutoKittehError(text)
    return made


def _all_translated(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    return {name: _translated(function, _kitteh_error) for name, function in functions.items()}


def _activities(_module: ModuleType) -> dict[str, Callable[..., Any]]:
    return _all_translated({"register_no_activity": marks.register_no_activity})


def _not_yet(name: str) -> Callable[..., Any]:
    def not_yet(*_args: Any, **_kwargs: Any) -> Any:
        raise NotSupported(f"autokitteh.{name} is not supported by this version of Ninelives yet")

    return not_yet


def _events(_module: ModuleType) -> dict[str, Callable[..., Any]]:
    return _own(compat_messages.EVENTS)


def _signals(_module: ModuleType) -> dict[str, Callable[..., Any]]:
    return _own(compat_messages.SIGNALS)


def _own(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Return functions as the package's own: they are never steps."""
    for function in functions.values():
        function.__module__ = _PACKAGE
    return dict(functions)


def _outcomes(_module: ModuleType) -> dict[str, Callable[..., Any]]:
    return _all_translated({"outcome": compat_messages.outcome, "http_outcome": compat_messages.http_outcome})


def _store(module: ModuleType) -> dict[str, Callable[..., Any]]:
    functions = _all_translated(compat_store.FUNCTIONS)
    for name, function in functions.items():
        setattr(module, name, function)
    compat_store.teach(module)
    return functions


def _connections(_module: ModuleType) -> dict[str, Callable[..., Any]]:
    def refresh_oauth(integration: str, connection: str) -> tuple[str, datetime]:
        try:
            return connections.refresh_oauth(integration, connection)
        except NinelivesError as error:
            made = sys.modules["autokitteh.errors"].OAuthRefreshError(connection, error)
            raise made from error

    refresh_oauth.__module__ = _PACKAGE
    return {"refresh_oauth": refresh_oauth, **_all_translated({"encode_jwt": compat_helpers.encode_jwt})}


def _with_fresh_token(_module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Have a helper that refreshes each time it makes a client get the token that is good already."""

    def refresh_oauth(integration: str, connection: str) -> tuple[str, datetime]:
        try:
            return connections.access_oauth(integration, connection)
        except NinelivesError as error:
            raise sys.modules["autokitteh.errors"].OAuthRefreshError(connection, error) from error

    refresh_oauth.__module__ = _PACKAGE
    return {"refresh_oauth": refresh_oauth}


def _attr_dict(_module: ModuleType) -> dict[str, type]:
    return {"AttrDict": AttrDict}


def _event(_module: ModuleType) -> dict[str, type]:
    return {"Event": Event}


def _packages(_module: ModuleType) -> dict[str, Callable[..., Any]]:
    return {"_install_package": compat_helpers.install_package}


def _pydantic(module: ModuleType) -> dict[str, Callable[..., Any]]:
    return {"openai_pydantic_ai_provider": compat_helpers.openai_provider(module)}


def _salesforce(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Have the client renew its token, as our own does."""
    original: Callable[..., Any] = module.salesforce_client

    def salesforce_client(connection: str, **options: Any) -> Any:
        session = host.running()
        if session is not None and connection in session.connections:
            token = connections.token_in_hand(connection)
            if not (token.value and token.instance_url):
                _try_renewal(connection)
        made = original(connection, **options)
        if session is not None:
            salesforce.keep_fresh(made, connection)
        return made

    salesforce_client.__module__ = module.__name__
    return {"salesforce_client": salesforce_client}


def _try_renewal(connection: str) -> None:
    """Get a token where the environment has none; the original says what is wrong if there is still none."""
    try:
        connections.renew(connection)
    except NinelivesError:
        return


_BY_MODULE: dict[str, Callable[[ModuleType], Mapping[str, Callable[..., Any]]]] = {
    "autokitteh.activities": _activities,
    "autokitteh.events": _events,
    "autokitteh.signals": _signals,
    "autokitteh.outcomes": _outcomes,
    "autokitteh.store": _store,
    "autokitteh.connections": _connections,
    "autokitteh.salesforce": _salesforce,
    "autokitteh.airtable": _with_fresh_token,
    "autokitteh.hubspot": _with_fresh_token,
    "autokitteh.attr_dict": _attr_dict,
    "autokitteh.event": _event,
    "autokitteh.packages": _packages,
    "autokitteh.pydantic": _pydantic,
}
