"""Forms made from what integrations say of themselves: one template for any of them. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ninelives_server.integrations.contract import AuthMode, Choice, Field

#: Value of the option of a choice that stands for the text input beside it.
OTHER = "other:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input as a page shows it.

    Attributes:
        value: What it is preset to; always empty for a secret.
        other: Preset of the text input of a choice that takes any text.
        is_set: A secret has a value, which is kept where the input is left blank.
        error: What is wrong with what was entered.
    """

    name: str
    label: str
    help: str
    kind: str
    required: bool
    choices: tuple[Choice, ...]
    placeholder: str
    other_label: str
    is_advanced: bool
    is_long: bool
    value: str
    other: str
    is_set: bool
    error: str

    @property
    def other_name(self) -> str:
        """Name of the text input of a choice that takes any text."""
        return other_name(self.name)


def other_name(name: str) -> str:
    """Return the name of the text input that belongs to a choice."""
    return f"{name}.other"


def _input(field: Field, values: Mapping[str, str], secrets_set: frozenset[str], error: str) -> Input:
    value = "" if field.is_secret else values.get(field.name, field.default)
    known = {choice.value for choice in field.choices}
    other = ""
    if field.kind == "choice" and field.other_label and value not in known:
        value, other = OTHER, value
    is_set = field.name in secrets_set
    return Input(
        name=field.name,
        label=field.label,
        help=field.help,
        kind=field.kind,
        required=field.required and not is_set,
        choices=field.choices,
        placeholder=field.placeholder,
        other_label=field.other_label,
        is_advanced=field.is_advanced,
        is_long=field.is_long,
        value=value,
        other=other,
        is_set=is_set,
        error=error,
    )


def inputs(
    mode: AuthMode,
    *,
    values: Mapping[str, str] | None = None,
    secrets_set: frozenset[str] = frozenset(),
    errors: Mapping[str, str] | None = None,
) -> list[Input]:
    """Return the inputs of an auth mode, preset with values and marked with errors."""
    return [
        _input(field, values or {}, secrets_set, (errors or {}).get(field.name, "")) for field in mode.fields
    ]


def _settings(mode: AuthMode, sent: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for field in mode.fields:
        if field.is_secret or field.name not in sent:
            continue
        value = sent[field.name].strip()
        yield field.name, sent.get(other_name(field.name), "").strip() if value == OTHER else value


def read(mode: AuthMode, sent: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the settings and the secrets that a form post holds; what the mode does not know is left out."""
    secrets = {f.name: sent[f.name].strip() for f in mode.fields if f.is_secret and sent.get(f.name)}
    return dict(_settings(mode, sent)), secrets
