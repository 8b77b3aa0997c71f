"""Who asks: every service call takes an actor, every change is written down with one."""

from dataclasses import dataclass
from enum import StrEnum

from ninelives_server.errors import Forbidden
from ninelives_server.ids import OrgId, UserId


class Role(StrEnum):
    """What a member may do in an org; each role includes the ones after it."""

    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


_RANK = {Role.VIEWER: 0, Role.MEMBER: 1, Role.ADMIN: 2}


class ActorKind(StrEnum):
    """What stands behind a call."""

    USER = "user"
    SESSION = "session"
    WORKER = "worker"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Somebody, or something, that asks for a thing to be done.

    Attributes:
        id: What the audit log names: a user id, a session id, a worker id or `system`.
        org_id: The only org whose things the actor may see.
        role: What it may do there.
        scopes: Of the token used: `all`, `read`, `worker`; a browser login has `all`.
        user_name: For pages; empty where there is no user.
    """

    kind: ActorKind
    id: str
    org_id: OrgId
    role: Role
    scopes: frozenset[str] = frozenset({"all"})
    user_name: str = ""

    @property
    def user_id(self) -> UserId:
        """The user's id, or `system`: what `created_by` columns hold."""
        return UserId(self.id)

    def needs(self, role: Role) -> None:
        """Raise unless the actor has at least this role.

        Raises:
            Forbidden: The role or the token's scope does not allow it.
        """
        if _RANK[self.role] < _RANK[role]:
            raise Forbidden(f"this needs the role {role}; you are {self.role} here")
        if role is not Role.VIEWER and not self.scopes & {"all"}:
            raise Forbidden("this token may only read; use one with the scope 'all'")


def system(org_id: str) -> Actor:
    """Return the actor of what the server does by itself in an org."""
    return Actor(kind=ActorKind.SYSTEM, id="system", org_id=OrgId(org_id), role=Role.ADMIN)
