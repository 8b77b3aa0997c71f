"""What people enter for a connection: checked, normalised, and merged with what was entered before."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ninelives_server import ids
from ninelives_server.errors import Invalid
from ninelives_server.ids import ConnectionId
from ninelives_server.integrations import entered as entered_values
from ninelives_server.integrations.contract import AuthMode, Field, Integration
from ninelives_server.model.actors import Actor
from ninelives_server.model.connections import Connection, ConnectionState
from ninelives_server.model.projects import Project
from ninelives_server.store import connections, refreshes
from ninelives_server.store.core import Tx

#: Names become parts of variable names.
_NAME = re.compile(r"\w{1,100}", re.ASCII)
#: Longer values are no settings. characters
_LONGEST = 4096
#: Of a key file. characters
_LONGEST_FILE = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """Checked input.

    Attributes:
        settings: All of them, as they will be stored.
        secrets: Only those that were entered now; the others stay as they are.
    """

    settings: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)

    @property
    def secret_bytes(self) -> dict[str, bytes]:
        """The secrets, for the safe."""
        return {name: value.encode() for name, value in self.secrets.items()}


def checked_name(name: str) -> None:
    """Check a connection's name.

    Raises:
        Invalid: It cannot be part of a variable's name.
    """
    if not _NAME.fullmatch(name):
        message = f"the name {name!r} must be letters, digits and _ (it becomes part of variable names)"
        raise Invalid(message, fields={"name": message})


def checked(
    integration: Integration,
    mode: AuthMode,
    settings: Mapping[str, str],
    secrets: Mapping[str, str],
    insecure_hosts: frozenset[str],
) -> Entered:
    """Check everything that a new connection needs.

    Raises:
        Invalid: A required field is empty, a field does not exist, or a value cannot be used.
    """
    found = _sorted_out(mode, settings, secrets)
    _refuse_missing(
        mode, {name for name, value in (*found.settings.items(), *found.secrets.items()) if value}
    )
    return replace(
        found, settings=integration.normalise(mode.name, _filled(mode, found.settings), insecure_hosts)
    )


def edited(
    integration: Integration,
    mode: AuthMode,
    old: Connection,
    settings: Mapping[str, str],
    secrets: Mapping[str, str],
    insecure_hosts: frozenset[str],
) -> Entered:
    """Check an edit: what is left out stays; a required field that is blank stays, others are cleared.

    Raises:
        Invalid: A field does not exist, a value cannot be used, or a required one was never entered.
    """
    own = entered_values.own_variables(integration, old.settings)
    found = _sorted_out(mode, settings, secrets)
    required = {f.name for f in mode.fields if f.required}
    new = {name: value for name, value in found.settings.items() if value or name not in required}
    merged = _filled(mode, {**old.settings, **new})
    if settings or secrets:
        have = {name for name, value in merged.items() if value} | old.secrets_set | set(found.secrets)
        _refuse_missing(mode, have)
    return replace(found, settings={**own, **integration.normalise(mode.name, merged, insecure_hosts)})


def checked_mode(old: Connection, mode: AuthMode) -> None:
    """Check that a connection may be of this mode.

    Raises:
        Invalid: It was set up with another one.
    """
    if mode.name == old.auth_mode:
        return
    if old.state not in {ConnectionState.NEW, ConnectionState.INIT_REQUIRED} or old.secrets_set:
        message = f"connection {old.name!r} was set up with {old.auth_mode}, and keeps that; make a new one"
        raise Invalid(message, fields={"auth_mode": message})


def _refuse_missing(mode: AuthMode, have: set[str] | frozenset[str]) -> None:
    missing = {f.name: f"{f.label} is required" for f in mode.fields if f.required and f.name not in have}
    if missing:
        raise Invalid("; ".join(missing.values()), fields=missing)


def _sorted_out(mode: AuthMode, settings: Mapping[str, str], secrets: Mapping[str, str]) -> Entered:
    known = {f.name: f for f in mode.fields}
    wrong = {
        name: f"{mode.title} has no field {name!r}" for name in (*settings, *secrets) if name not in known
    }
    wrong |= {
        name: f"{known[name].label} is a secret; pass it as one"
        for name in settings
        if name in known and known[name].is_secret
    }
    wrong |= {name: f"{name} is no secret" for name in secrets if name in known and not known[name].is_secret}
    wrong |= {
        name: f"{known[name].label} is longer than {_longest(known[name])} characters"
        for name, value in (*settings.items(), *secrets.items())
        if name in known and len(value) > _longest(known[name])
    }
    wrong |= {
        name: f"{known[name].label} is {_choices(known[name])}, not {value[:50]!r}"
        for name, value in settings.items()
        if name in known and not _may_be(known[name], value.strip())
    }
    if wrong:
        raise Invalid("; ".join(wrong.values()), fields=wrong)
    return Entered(
        settings={name: value.strip() for name, value in settings.items()},
        secrets={name: value.strip() for name, value in secrets.items() if value.strip()},
    )


def _choices(field: Field) -> str:
    return " or ".join(choice.value for choice in field.choices)


def _may_be(field: Field, value: str) -> bool:
    """Say whether a choice offers a value; nothing stands for its default."""
    if field.kind != "choice" or field.other_label or not value:
        return True
    return value in {choice.value for choice in field.choices}


def _longest(field: Field) -> int:
    return _LONGEST_FILE if field.is_long else _LONGEST


def _filled(mode: AuthMode, settings: Mapping[str, str]) -> dict[str, str]:
    return {f.name: settings.get(f.name) or f.default for f in mode.fields if not f.is_secret}


def new_connection(
    tx: Tx, actor: Actor, project: Project, *, name: str, integration: str, mode: AuthMode
) -> Connection:
    """Return a connection for inserting; one with OAuth still has to be authorised."""
    return Connection(
        id=ConnectionId(ids.new("con")),
        org_id=actor.org_id,
        project_id=project.id,
        name=name,
        integration=integration,
        auth_mode=mode.name,
        state=ConnectionState.INIT_REQUIRED if mode.uses_oauth else ConnectionState.OK,
        state_since=tx.now,
        reason="not authorised yet" if mode.uses_oauth else "",
        provider_reason="",
        settings={},
        secrets_set=frozenset(),
        account=None,
        account_key=None,
        generation=0,
        last_checked_at=None,
        last_refreshed_at=None,
        last_used_at=None,
        created_at=tx.now,
        created_by=actor.user_id,
    )


def with_settings(connection: Connection, settings: Mapping[str, str]) -> Connection:
    """Return the connection with these settings."""
    return replace(connection, settings=settings)


def changed_fields(old: Connection, entered: Entered) -> Sequence[str]:
    """Return the names of what an edit changes; of a secret only that it was entered."""
    settings = [name for name, value in entered.settings.items() if old.settings.get(name, "") != value]
    return sorted({*settings, *entered.secrets})


#: A change of one of these makes it another app, or another place: the grant belongs to the old one.
_OF_THE_APP = ("client_id", "environment")


def settle_after_edit(tx: Tx, old: Connection, mode: AuthMode, entered: Entered) -> None:
    """Put the state right after an edit: another app must be authorised, a new secret is tried at once."""
    changed = set(changed_fields(old, entered))
    if not mode.uses_oauth:
        _settle_keys(tx, old, mode, entered)
        return
    if old.account is not None and changed & set(_OF_THE_APP):
        connections.set_state(
            tx,
            old.id,
            ConnectionState.NEEDS_REAUTH,
            reason="its app or environment was changed; authorise it again",
        )
    elif changed and old.state in {ConnectionState.NEEDS_ADMIN, ConnectionState.DEGRADED}:
        refreshes.locked(tx, old.id)
        refreshes.postpone(tx, old.id, tx.now)
    elif old.state is ConnectionState.NEW:
        connections.set_state(tx, old.id, ConnectionState.INIT_REQUIRED, reason="not authorised yet")


def _settle_keys(tx: Tx, old: Connection, mode: AuthMode, entered: Entered) -> None:
    """A connection without OAuth is ready as soon as everything is entered."""
    missing = entered_values.missing(mode, entered.settings, old.secrets_set | set(entered.secrets))
    if missing:
        reason = f"{' and '.join(f.label for f in missing)} not entered yet"
        connections.set_state(tx, old.id, ConnectionState.INIT_REQUIRED, reason=reason)
    else:
        connections.set_state(tx, old.id, ConnectionState.OK)
