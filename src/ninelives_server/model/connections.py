"""Connections: one authorised account of an integration."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ninelives_server.ids import ConnectionId, OrgId, ProjectId


class ConnectionState(StrEnum):
    """How a connection fares.

    `new`: made, nothing entered yet; `init_required`: brought by a manifest, or saved and not yet authorised;
    `degraded`: failing, being retried; `needs_reauth`: its user must act; `needs_admin`: an administrator of
    the account must act; `disconnected`: revoked on our side.
    """

    NEW = "new"
    INIT_REQUIRED = "init_required"
    OK = "ok"
    DEGRADED = "degraded"
    NEEDS_REAUTH = "needs_reauth"
    NEEDS_ADMIN = "needs_admin"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who authorised, as the provider names it.

    Attributes:
        org_id: The provider's id of the organisation.
        user: The provider's name of the user, such as a username.
        user_id: The provider's id of the user.
        scopes: As granted, sorted.
        org_name: For people; empty where the provider does not say.
    """

    org_id: str
    user: str
    user_id: str
    instance_url: str
    scopes: tuple[str, ...]
    org_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One authorised account of an integration; its secrets live in the vault, never here.

    Attributes:
        settings: Fields that are no secret, such as `environment`, `client_id`, `scopes`.
        secrets_set: Names of the secret fields that have a value.
        reason: Why it is in this state, in our words; `provider_reason` in the provider's.
        account_key: What identifies the account for events; `None` until authorised.
        generation: Of the grant: counts the saves of tokens.
    """

    id: ConnectionId
    org_id: OrgId
    project_id: ProjectId | None
    name: str
    integration: str
    auth_mode: str
    state: ConnectionState
    state_since: datetime
    reason: str
    provider_reason: str
    settings: Mapping[str, str]
    secrets_set: frozenset[str]
    account: Account | None
    account_key: str | None
    generation: int
    last_checked_at: datetime | None
    last_refreshed_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime
    created_by: str
