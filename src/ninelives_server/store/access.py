"""Orgs, users, members and tokens. A token is found by the SHA-256 of its secret, which nobody stores."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ninelives_server import ids
from ninelives_server.ids import OrgId, TokenId, UserId
from ninelives_server.model.actors import Role
from ninelives_server.store import driver
from ninelives_server.store.core import Tx
from ninelives_server.store.tables import members, orgs, tokens, users


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person.

    Attributes:
        disabled_at: Since when they may do nothing; `None` for everybody else.
        last_login_at: With a browser; `None` for never.
    """

    id: UserId
    name: str
    email: str | None
    disabled_at: datetime | None
    last_login_at: datetime | None
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer secret, without the secret.

    Attributes:
        kind: `api`, `worker`, `login_link` or `browser`.
        revoked_at: Since when it is useless; a login link's is when it was used.
    """

    id: TokenId
    user_id: UserId
    org_id: OrgId
    kind: str
    name: str
    scopes: Sequence[str]
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A token together with who holds it and what they are in its org."""

    token: Token
    user_name: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token to be made."""

    user_id: str
    org_id: str
    kind: str
    hash: bytes = field(repr=False)
    name: str = ""
    scopes: tuple[str, ...] = ("all",)
    expires_at: datetime | None = None
    created_by: str


_TOKEN = [column for column in tokens.c if column.name != "hash"]


def alone(tx: Tx, what: int) -> None:
    """Let no other server do the same until this unit is over (PostgreSQL; SQLite has one writer)."""
    if tx.connection.dialect.name == "postgresql":
        tx.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(what)))


def insert_org(tx: Tx, name: str, *, created_by: str = "system") -> OrgId:
    """Make an org."""
    org_id = OrgId(ids.new("org"))
    tx.connection.execute(
        sa.insert(orgs).values(id=org_id, name=name, created_at=tx.now, created_by=created_by)
    )
    return org_id


def insert_user(tx: Tx, name: str, *, created_by: str = "system") -> User:
    """Make a user; the name must be free."""
    user = User(
        id=UserId(ids.new("usr")),
        name=name,
        email=None,
        disabled_at=None,
        last_login_at=None,
        created_at=tx.now,
        created_by=created_by,
    )
    tx.connection.execute(sa.insert(users).values(**{n: getattr(user, n) for n in users.c.keys()}))  # noqa: SIM118
    return user


def insert_member(tx: Tx, org_id: str, user_id: str, role: Role, *, created_by: str = "system") -> None:
    """Give a user a role in an org."""
    tx.connection.execute(
        sa.insert(members).values(
            org_id=org_id, user_id=user_id, role=str(role), created_at=tx.now, created_by=created_by
        )
    )


def user_by_name(tx: Tx, name: str) -> User | None:
    """Return the user of this name, of whatever org."""
    row = tx.connection.execute(sa.select(users).where(users.c.name == name)).mappings().one_or_none()
    return None if row is None else User(**row)


def role_of(tx: Tx, org_id: str, user_id: str) -> Role | None:
    """Return what a user is in an org; `None` for a stranger or a disabled user."""
    found = tx.connection.execute(
        sa.select(members.c.role)
        .join(users, users.c.id == members.c.user_id)
        .where(members.c.org_id == org_id, members.c.user_id == user_id, users.c.disabled_at.is_(None))
    ).scalar_one_or_none()
    return None if found is None else Role(found)


def first_admin(tx: Tx) -> tuple[OrgId, User] | None:
    """Return the oldest org's oldest administrator who is not disabled."""
    row = (
        tx.connection.execute(
            sa.select(users, members.c.org_id)
            .join(members, members.c.user_id == users.c.id)
            .where(members.c.role == str(Role.ADMIN), users.c.disabled_at.is_(None))
            .order_by(members.c.created_at, users.c.id)
            .limit(1)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    values = dict(row)
    return OrgId(values.pop("org_id")), User(**values)


def has_logged_in(tx: Tx) -> bool:
    """Say whether anybody has ever logged in with a browser."""
    query = sa.select(sa.exists().where(users.c.last_login_at.is_not(None)))
    return bool(tx.connection.execute(query).scalar_one())


def mark_login(tx: Tx, user_id: str) -> None:
    """Note that a user has logged in with a browser."""
    tx.connection.execute(sa.update(users).where(users.c.id == user_id).values(last_login_at=tx.now))


def insert_token(tx: Tx, new: NewToken) -> TokenId:
    """Make a token."""
    token_id = TokenId(ids.new("tok"))
    tx.connection.execute(
        sa.insert(tokens).values(
            id=token_id,
            user_id=new.user_id,
            org_id=new.org_id,
            kind=new.kind,
            name=new.name,
            hash=new.hash,
            scopes=list(new.scopes),
            expires_at=new.expires_at,
            created_at=tx.now,
            created_by=new.created_by,
        )
    )
    return token_id


_HOLDER = (
    "SELECT t.id, t.user_id, t.org_id, t.kind, t.name, CAST(t.scopes AS TEXT), t.expires_at, t.last_used_at, "
    "t.revoked_at, t.created_at, t.created_by, u.name, m.role FROM tokens t JOIN users u ON u.id = t.user_id "
    "JOIN members m ON m.user_id = t.user_id AND m.org_id = t.org_id "
    "WHERE t.hash = ? AND t.revoked_at IS NULL AND u.disabled_at IS NULL"
)


def holder(tx: Tx, hashed: bytes, kinds: Sequence[str]) -> Holder | None:
    """Return who holds a secret that is valid now: not revoked, not expired, of an active member."""
    # By the driver: each request and each page asks, and SQLAlchemy takes half a millisecond more for it.
    for *values, user_name, role in driver.rows(tx, _HOLDER, (hashed,)):
        token = _token(values)
        if token.kind in kinds and (token.expires_at is None or token.expires_at > tx.now):
            return Holder(token=token, user_name=user_name, role=Role(role))
    return None


def _token(values: Sequence[Any]) -> Token:
    token_id, user_id, org_id, kind, name, scopes, *times, created_by = values
    expires_at, last_used_at, revoked_at = (None if at is None else driver.time_of(at) for at in times[:3])
    return Token(
        id=token_id,
        user_id=user_id,
        org_id=org_id,
        kind=kind,
        name=name,
        scopes=json.loads(scopes),
        expires_at=expires_at,
        last_used_at=last_used_at,
        revoked_at=revoked_at,
        created_at=driver.time_of(times[3]),
        created_by=created_by,
    )


def token_by_id(tx: Tx, org_id: str, token_id: str) -> Token | None:
    """Return a token of an org."""
    row = (
        tx.connection.execute(sa.select(*_TOKEN).where(tokens.c.id == token_id, tokens.c.org_id == org_id))
        .mappings()
        .one_or_none()
    )
    return None if row is None else Token(**row)


def tokens_of(tx: Tx, org_id: str, *, user_id: str | None = None) -> list[Token]:
    """Return the API and worker tokens of an org, or of one user in it, that are not revoked."""
    query = (
        sa.select(*_TOKEN)
        .where(tokens.c.org_id == org_id, tokens.c.kind.in_(("api", "worker")), tokens.c.revoked_at.is_(None))
        .order_by(tokens.c.id)
    )
    if user_id is not None:
        query = query.where(tokens.c.user_id == user_id)
    return [Token(**row) for row in tx.connection.execute(query).mappings()]


def revoke(tx: Tx, token_id: str) -> bool:
    """Make a token useless; say whether it was this call that did."""
    done = tx.connection.execute(
        sa.update(tokens)
        .where(tokens.c.id == token_id, tokens.c.revoked_at.is_(None))
        .values(revoked_at=tx.now)
    )
    return done.rowcount == 1


def touch(tx: Tx, token_id: str, unless_since: datetime) -> None:
    """Note that a token is used now, unless that was noted since then."""
    tx.connection.execute(
        sa.update(tokens)
        .where(
            tokens.c.id == token_id,
            sa.or_(tokens.c.last_used_at.is_(None), tokens.c.last_used_at <= unless_since),
        )
        .values(last_used_at=tx.now)
    )


def delete_expired(tx: Tx, before: datetime, *, limit: int = 500) -> int:
    """Delete at most `limit` login links and browser logins that ended before; return how many."""
    old = (
        sa.select(tokens.c.id)
        .where(tokens.c.kind.in_(("login_link", "browser")), tokens.c.expires_at < before)
        .limit(limit)
    )
    return tx.connection.execute(sa.delete(tokens).where(tokens.c.id.in_(old.scalar_subquery()))).rowcount
