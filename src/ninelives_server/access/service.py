"""Users, tokens and logins: who a secret belongs to, and who may make another one.

People log in to the pages with a one-time link, programs use tokens, workers have tokens of their own. Only
hashes are stored, so no answer of this service but the one that makes a secret can show it. Cookies and
headers are left to `api` and `web`.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from ninelives_server import log
from ninelives_server.access import token_file
from ninelives_server.access.secrets import hash_secret, new_secret, new_token
from ninelives_server.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from ninelives_server.ids import TokenId
from ninelives_server.model.actors import Actor, ActorKind, Role, system
from ninelives_server.store import access, audit
from ninelives_server.store.access import Holder, NewToken, Token, User
from ninelives_server.store.core import Store, Tx

logger = log.get(__name__)

#: A login link is good for this long, and once.
LINK_LASTS = timedelta(minutes=10)
#: A browser stays logged in for this long.
LOGIN_LASTS = timedelta(days=14)
#: "Last used" is written at most this often for one token.
TOUCHED_EVERY = timedelta(minutes=1)

_SCOPES = {"all", "read"}
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_FIRST_START = 0x4E4C4143  # any number of ours for `access.alone`


class Access:
    """Knows users, tokens and logins."""

    def __init__(self, *, store: Store) -> None:
        self._store = store

    async def bootstrap(self, admin_token_file: Path) -> None:
        """Make the first org and user of a new database, and an admin token where the file has no valid one.

        Raises:
            SetupError: The file cannot be read or written.
        """
        present = token_file.read(admin_token_file)
        if present is not None and await self._holder(present, ("api",)) is not None:
            return
        secret = new_token()
        await self._store.write(lambda tx: _first_token(tx, secret))
        token_file.write(admin_token_file, secret)

    async def authenticate(self, bearer: str) -> Actor:
        """Return who an API or worker token belongs to.

        Raises:
            Unauthenticated: The token is unknown, revoked or expired, or its user may do nothing any more.
        """
        found = await self._holder(bearer, ("api", "worker"))
        if found is None:
            raise Unauthenticated("this token is not valid; it may be revoked or expired")
        return _actor(found)

    async def browser(self, cookie: str | None) -> Actor | None:
        """Return who is logged in with this cookie; `None` for nobody."""
        if not cookie:
            return None
        found = await self._holder(cookie, ("browser",))
        return None if found is None else _actor(found)

    async def login_link(self, actor: Actor, user_name: str | None = None) -> str:
        """Make the secret of a login link for the actor, or for another user of the org.

        Raises:
            NotFound: The org has no such user.
            Forbidden: Only an administrator may make links for others; a worker for nobody.
        """
        if actor.kind not in {ActorKind.USER, ActorKind.SYSTEM}:
            raise Forbidden("only a user may make login links")
        _needs_all(actor)
        secret = new_secret()
        await self._store.write(lambda tx: _make_link(tx, actor, user_name, secret))
        return secret

    async def peek_login(self, secret: str) -> str | None:
        """Return whom a login link is for, without using it up; `None` where it is not valid any more."""
        found = await self._store.read(lambda tx: access.holder(tx, hash_secret(secret), ("login_link",)))
        return None if found is None else found.user_name

    async def login(self, secret: str) -> tuple[Actor, str]:
        """Use up a login link.

        Returns:
            Who is logged in, and the cookie's value, good for 14 days.

        Raises:
            Unauthenticated: The link was used, or is older than ten minutes, or never was one.
        """
        cookie = new_secret()
        return await self._store.write(lambda tx: _use_link(tx, secret, cookie)), cookie

    async def logout(self, cookie: str) -> None:
        """End a browser login; of a cookie that is not valid nothing happens."""
        await self._store.write(lambda tx: _end_login(tx, cookie))

    async def has_logged_in(self) -> bool:
        """Say whether anybody has ever logged in with a browser."""
        return await self._store.read(access.has_logged_in)

    async def create_user(self, actor: Actor, name: str, role: Role) -> User:
        """Make a user with a role in the actor's org.

        Raises:
            Conflict: The name is taken.
            Invalid: The name cannot be used.
        """
        actor.needs(Role.ADMIN)
        name = _checked_name(name, "a user's name")
        return await self._store.write(lambda tx: _make_user(tx, actor, name, role))

    async def list_tokens(self, actor: Actor) -> Sequence[Token]:
        """Return the org's API and worker tokens; to those who are no administrators, their own."""
        actor.needs(Role.VIEWER)
        mine = None if actor.role is Role.ADMIN else actor.user_id
        return await self._store.read(lambda tx: access.tokens_of(tx, actor.org_id, user_id=mine))

    async def create_token(
        self,
        actor: Actor,
        name: str,
        *,
        scopes: Sequence[str] = ("all",),
        expires_at: datetime | None = None,
    ) -> tuple[TokenId, str]:
        """Make an API token for the actor; this is the only time that its secret is known.

        Raises:
            Invalid: A scope is unknown, or the expiry is past or has no time zone.
        """
        _needs_all(actor)
        if not scopes or not set(scopes) <= _SCOPES:
            raise Invalid(
                f"a token has the scope 'all' or 'read', not {', '.join(scopes) or 'none'}",
                fields={"scopes": "all or read"},
            )
        return await self._make_token(actor, "api", name, tuple(sorted(set(scopes))), expires_at)

    async def worker_token(self, actor: Actor, name: str) -> tuple[TokenId, str]:
        """Make a token for a worker: good for the worker link and for nothing else."""
        actor.needs(Role.ADMIN)
        return await self._make_token(actor, "worker", name, ("worker",), None)

    async def revoke_token(self, actor: Actor, token_id: str) -> None:
        """Make a token useless at once; to revoke another user's needs an administrator.

        Raises:
            NotFound: There is no such token that the actor may see.
        """
        _needs_all(actor)
        await self._store.write(lambda tx: _revoke(tx, actor, token_id))

    async def sweep(self) -> int:
        """Delete login links and browser logins that ended a day ago, some at a time; return how many."""
        return await self._store.write(
            lambda tx: access.delete_expired(tx, tx.now - timedelta(days=1), limit=500)
        )

    async def _make_token(
        self, actor: Actor, kind: str, name: str, scopes: tuple[str, ...], expires_at: datetime | None
    ) -> tuple[TokenId, str]:
        name = _checked_name(name, "a token's name")
        if expires_at is not None and expires_at.tzinfo is None:
            raise Invalid(
                f"the expiry {expires_at} has no time zone; write it with Z", fields={"expires_at": "add Z"}
            )
        secret = new_token()

        def make(tx: Tx) -> TokenId:
            if expires_at is not None and expires_at <= tx.now:
                raise Invalid(
                    f"the expiry {expires_at} is past", fields={"expires_at": "choose a later time"}
                )
            token_id = access.insert_token(
                tx,
                NewToken(
                    user_id=_owner(tx, actor),
                    org_id=actor.org_id,
                    kind=kind,
                    hash=hash_secret(secret),
                    name=name,
                    scopes=scopes,
                    expires_at=expires_at,
                    created_by=actor.id,
                ),
            )
            audit.record(tx, actor, "token.created", token_id, details={"name": name, "scopes": list(scopes)})
            return token_id

        return await self._store.write(make), secret

    async def _holder(self, secret: str, kinds: Sequence[str]) -> Holder | None:
        """Return who holds a valid secret, and note its use, at most once a minute."""
        hashed = hash_secret(secret)

        def look(tx: Tx) -> tuple[Holder | None, bool]:
            found = access.holder(tx, hashed, kinds)
            used = None if found is None else found.token.last_used_at
            return found, found is not None and (used is None or tx.now - used >= TOUCHED_EVERY)

        found, is_due = await self._store.glance(look)
        if found is not None and is_due:
            token_id = found.token.id
            await self._store.write(lambda tx: access.touch(tx, token_id, tx.now - TOUCHED_EVERY))
        return found


def _needs_all(actor: Actor) -> None:
    """Refuse tokens that may not change anything; viewers may care for tokens and logins of their own."""
    if not actor.scopes & {"all"}:
        raise Forbidden("this token may only read; use one with the scope 'all'")


def _actor(found: Holder) -> Actor:
    if found.token.kind == "worker":
        return Actor(
            kind=ActorKind.WORKER,
            id=found.token.id,
            org_id=found.token.org_id,
            role=Role.VIEWER,
            scopes=frozenset(found.token.scopes),
        )
    return Actor(
        kind=ActorKind.USER,
        id=found.token.user_id,
        org_id=found.token.org_id,
        role=found.role,
        scopes=frozenset(found.token.scopes),
        user_name=found.user_name,
    )


def _checked_name(name: str, what: str) -> str:
    name = name.strip()
    if not _NAME.fullmatch(name):
        raise Invalid(f"{what} has 1 to 200 printable characters", fields={"name": "1 to 200 characters"})
    return name


def _owner(tx: Tx, actor: Actor) -> str:
    """Return the user whose token it will be; the server's own are the first administrator's."""
    if actor.kind is ActorKind.USER:
        return actor.id
    first = access.first_admin(tx)
    if first is None:
        raise Conflict("there is no administrator yet whose token it could be")
    return first[1].id


def _first_token(tx: Tx, secret: str) -> None:
    access.alone(tx, _FIRST_START)
    first = access.first_admin(tx)
    if first is None:
        org_id = access.insert_org(tx, "default")
        user = access.insert_user(tx, "admin")
        access.insert_member(tx, org_id, user.id, Role.ADMIN)
        audit.record(tx, system(org_id), "org.created", org_id)
        audit.record(
            tx, system(org_id), "user.created", user.id, details={"name": user.name, "role": "admin"}
        )
    else:
        org_id, user = first
    token_id = access.insert_token(
        tx,
        NewToken(
            user_id=user.id,
            org_id=org_id,
            kind="api",
            hash=hash_secret(secret),
            name="admin-token file",
            created_by="system",
        ),
    )
    audit.record(tx, system(org_id), "token.created", token_id, details={"name": "admin-token file"})


def _make_link(tx: Tx, actor: Actor, user_name: str | None, secret: str) -> None:
    if user_name is None:
        user_id = _owner(tx, actor)
    else:
        user = access.user_by_name(tx, user_name)
        if user is None or access.role_of(tx, actor.org_id, user.id) is None:
            raise NotFound(f"there is no user {user_name!r} in your org")
        user_id = user.id
    if user_id != actor.id:
        actor.needs(Role.ADMIN)
    token_id = access.insert_token(
        tx,
        NewToken(
            user_id=user_id,
            org_id=actor.org_id,
            kind="login_link",
            hash=hash_secret(secret),
            expires_at=tx.now + LINK_LASTS,
            created_by=actor.id,
        ),
    )
    audit.record(tx, actor, "login_link.created", token_id, details={"user_id": user_id})


def _use_link(tx: Tx, secret: str, cookie: str) -> Actor:
    link = access.holder(tx, hash_secret(secret), ("login_link",))
    if link is None or not access.revoke(tx, link.token.id):
        raise Unauthenticated(
            "this login link was used already or is older than ten minutes; make another one with "
            "`ninelives login --web`",
            code="login_link_spent",
        )
    access.mark_login(tx, link.token.user_id)
    login_id = access.insert_token(
        tx,
        NewToken(
            user_id=link.token.user_id,
            org_id=link.token.org_id,
            kind="browser",
            hash=hash_secret(cookie),
            expires_at=tx.now + LOGIN_LASTS,
            created_by=link.token.user_id,
        ),
    )
    actor = _actor(link)
    audit.record(tx, actor, "user.logged_in", actor.id, details={"login": login_id})
    return actor


def _end_login(tx: Tx, cookie: str) -> None:
    found = access.holder(tx, hash_secret(cookie), ("browser",))
    if found is not None and access.revoke(tx, found.token.id):
        audit.record(tx, _actor(found), "user.logged_out", found.token.user_id)


def _make_user(tx: Tx, actor: Actor, name: str, role: Role) -> User:
    if access.user_by_name(tx, name) is not None:
        raise Conflict(
            f"there is a user {name!r} already; choose another name",
            code="name_taken",
            fields={"name": "is taken"},
        )
    user = access.insert_user(tx, name, created_by=actor.id)
    access.insert_member(tx, actor.org_id, user.id, role, created_by=actor.id)
    audit.record(tx, actor, "user.created", user.id, details={"name": name, "role": str(role)})
    return user


def _revoke(tx: Tx, actor: Actor, token_id: str) -> None:
    token = access.token_by_id(tx, actor.org_id, token_id)
    visible = token is not None and (actor.role is Role.ADMIN or token.user_id == actor.id)
    if token is None or not visible:
        raise NotFound(f"there is no token {token_id!r}")
    if access.revoke(tx, token.id):
        audit.record(tx, actor, "token.revoked", token.id, details={"name": token.name})
