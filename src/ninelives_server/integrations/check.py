"""The validator of integrations: what every one of them must fulfil, told as sentences."""

from collections.abc import Iterator
from pathlib import Path

from ninelives_server.errors import Invalid
from ninelives_server.integrations.contract import AuthMode, Field, Integration
from ninelives_server.integrations.declarative import Declarative

#: Names of what an authorisation brings, among a connection's secrets.
RESERVED = ("access_token", "refresh_token", "token_facts")
KINDS = ("text", "secret", "choice", "url")


def problems(integration: Integration) -> list[str]:
    """Return what is wrong with an integration; nothing where all is well."""
    return [f"{integration.name}: {text}" for text in _problems(integration)]


def file_problems(path: Path) -> list[str]:
    """Return what is wrong with a declarative integration's file, each with the file's name; or nothing."""
    try:
        found = Declarative.load(path)
    except Invalid as error:
        text = str(error)
        return [text if text.startswith(path.name) else f"{path.name}: {text}"]
    except OSError as error:
        return [f"{path.name}: it cannot be read: {error.strerror}"]
    except (AttributeError, TypeError, ValueError) as error:
        return [f"{path.name}: a value is of another kind than it must be, or missing: {error}"]
    named = [] if found.name == path.stem else [f"its name {found.name!r} is not the file's, {path.stem!r}"]
    return [f"{path.name}: {text}" for text in [*named, *_problems(found)]]


def _problems(integration: Integration) -> Iterator[str]:
    if not integration.name.isidentifier() or integration.name != integration.name.lower():
        yield "its name is no lower-case identifier"
    if not integration.title:
        yield "it has no title"
    if not integration.docs_url.startswith("https://") and not integration.docs_url.startswith("/"):
        yield "its docs_url is no address"
    if not integration.auth_modes:
        yield "it has no auth mode"
    names = [mode.name for mode in integration.auth_modes]
    if len(names) != len(set(names)):
        yield "two auth modes have the same name"
    for mode in integration.auth_modes:
        yield from _mode_problems(mode)
        if mode.token_field and mode.token_field not in {f.name for f in mode.fields if f.is_secret}:
            yield f"auth mode {mode.name}: its token {mode.token_field!r} is no secret field"
    if any(not s or s.startswith(".") or "*" in s for s in integration.host_rule().suffixes):
        yield "a host suffix is no plain domain"


def _mode_problems(mode: AuthMode) -> Iterator[str]:
    names = [field.name for field in mode.fields]
    if len(names) != len(set(names)):
        yield f"auth mode {mode.name}: two fields have the same name"
    for field in mode.fields:
        for text in _field_problems(field):
            yield f"auth mode {mode.name}, field {field.name}: {text}"


def _field_problems(field: Field) -> Iterator[str]:
    if field.name in RESERVED:
        yield f"{field.name} is the name of something that an authorisation brings"
    if not field.label:
        yield "it has no label"
    if field.kind not in KINDS:
        yield f"its kind {field.kind!r} is none of {', '.join(KINDS)}"
    if field.is_secret and field.default:
        yield "a secret has no default"
    if (field.kind == "choice") != bool(field.choices):
        yield "exactly the fields of kind choice have choices"
    if field.choices and field.default not in {choice.value for choice in field.choices}:
        yield "its default is none of its choices"
    if field.other_label and field.kind != "choice":
        yield "only a choice has other_label"
