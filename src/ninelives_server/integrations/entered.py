"""What sessions find of a connection that needs no authorisation: what its owner entered, under its names.

The name of a field is the name of its variable, so that AutoKitteh's helpers find `NAME__pat` or
`NAME__BotToken` where they look for it. A client secret is given only where the owner said so.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from ninelives_server.integrations.contract import App, AuthMode, Choice, Field, Integration

#: The field by which an owner gives a client secret to sessions; `yes` does.
GIVE = "give_to_sessions"

GIVE_FIELD = Field(
    name=GIVE,
    label="Give to sessions",
    help="The library of this service needs the secret itself. Project code can read it then",
    kind="choice",
    choices=(Choice(value="no", label="No"), Choice(value="yes", label="Yes, project code may read it")),
    default="no",
)


def is_complete(mode: AuthMode, settings: Mapping[str, str], secrets_set: AbstractSet[str]) -> bool:
    """Say whether everything that a mode requires was entered."""
    return not missing(mode, settings, secrets_set)


def missing(mode: AuthMode, settings: Mapping[str, str], secrets_set: AbstractSet[str]) -> Sequence[Field]:
    """Return the required fields that nothing was entered for."""
    return [
        f
        for f in mode.fields
        if f.required and not (f.name in secrets_set if f.is_secret else settings.get(f.name))
    ]


def variables(mode: AuthMode, app: App) -> tuple[dict[str, str], set[str]]:
    """Return what sessions find of a mode without OAuth, by variable, and which of the values are masked."""
    found = dict(mode.variables)
    masked: set[str] = set()
    for f in mode.fields:
        value = (app.secrets if f.is_secret else app.settings).get(f.name, "")
        if not value or f.name == GIVE or (f.is_client_secret and app.settings.get(GIVE) != "yes"):
            continue
        found[f.name] = value
        if f.is_secret:
            masked.add(value)
    return found, masked


def own_variables(integration: Integration, settings: Mapping[str, str]) -> dict[str, str]:
    """Return what a manifest says of a connection beyond the fields of its forms."""
    known = field_names(integration.auth_modes)
    return {name: value for name, value in settings.items() if name not in known}


def field_names(modes: Iterable[AuthMode]) -> set[str]:
    """Return the names of all fields of some modes."""
    return {f.name for mode in modes for f in mode.fields}
