"""One owner of refresh, across threads, processes and servers.

Salesforce rotates refresh tokens and ends the whole grant when an old one is presented again. So exactly one
request with a given refresh token may ever leave while anybody could still save its answer:

- a lease, a row and not an open transaction, says who may ask; the store's clock judges it;
- whoever gets it reads everything again, and uses what the last holder saved;
- an intent is written in the same unit, before the request leaves; while it is younger than 30 s and nobody
  saved an answer, nobody asks again (the request itself may take 20 s, the lease lasts 60 s);
- the answer is saved, whole, before anybody uses it, and only while the fence and the grant's generation are
  the ones that the request left with.

What is not promised: a server that dies between the provider's answer and the commit loses a rotated token;
the old one is then sent once, and the user has to connect again where the provider refuses it.
"""

import asyncio
import contextlib
import hashlib
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ninelives_server import errors, ids, log
from ninelives_server.connections import grants
from ninelives_server.connections.grants import SLOW_RETRY, AccessToken
from ninelives_server.connections.parts import Parts
from ninelives_server.connections.safe import Safe
from ninelives_server.integrations.contract import App, Integration
from ninelives_server.model.actors import Actor, system
from ninelives_server.model.connections import Connection, ConnectionState
from ninelives_server.oauth.outcomes import Kind, Refusal
from ninelives_server.oauth.tokens import TokenSet
from ninelives_server.store import audit, connections, refreshes
from ninelives_server.store.core import Tx
from ninelives_server.store.refreshes import Refresh

logger = log.get(__name__)

LEASE = timedelta(seconds=60)
#: While a request that left this long ago may still be answered, nobody sends the same token again.
DOUBT = timedelta(seconds=30)
#: How long a caller waits for whoever has the lease.
PATIENCE = timedelta(seconds=100)
LONGEST_BACKOFF = timedelta(minutes=5)
#: An access token with less left is refreshed ahead.
MARGIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """A connection as it was at one moment."""

    connection: Connection
    tokens: TokenSet | None
    row: Refresh
    now: datetime

    @property
    def access(self) -> AccessToken | None:
        """The access token, where nobody has reported it as refused."""
        if self.tokens is None or self.row.refused_generation == self.connection.generation:
            return None
        return grants.access_of(self.connection, self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wait:
    until: datetime
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Go:
    """Leave to send one request.

    Attributes:
        fence: Shown when the answer is saved.
    """

    connection: Connection
    app: App
    tokens: TokenSet = field(repr=False)
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    connection: Connection
    kind: Kind
    access: AccessToken | None


class Refresher:
    """Hands out access tokens, refreshed where needed."""

    def __init__(self, parts: Parts, *, name: str | None = None) -> None:
        self._parts = parts
        self._safe = Safe(parts.vault)
        self._name = name or ids.new("rfr")
        self._running: dict[str, asyncio.Task[AccessToken]] = {}

    async def close(self) -> None:
        """Wait for the answers of requests that have left, so that no rotated token is lost."""
        while self._running:
            await asyncio.wait(set(self._running.values()))

    async def token(
        self,
        connection_id: str,
        *,
        refused: str | None = None,
        words: str = "",
        force: bool = False,
        fresh: bool = False,
    ) -> AccessToken:
        """Return an access token that may be used now.

        `refused` is a token that the provider answered with a 401, or its SHA-256 in hex, and `words` what it
        said; that token is never handed out again. `force` refreshes even a good one, `fresh` one that might
        run out soon.

        Raises:
            NotFound: There is no such connection.
            NeedsReauth: Its user must authorise it (again).
            NeedsAdmin: An administrator, or the app's owner, must change something.
            Transient: It failed for now, and there is no token that may be used.
        """
        view = await self._parts.store.write(lambda tx: self._look(tx, connection_id, refused))
        if refused and not self._integration(view.connection).refresh_helps(words):
            raise await self._refused_by_policy(view, words)
        ready = None if force and view.tokens is not None else self._ready(view, fresh=fresh)
        if ready is not None:
            return ready
        return await self._shared(view, force=force)

    async def hold(self, connection_id: str) -> tuple[Connection, App, TokenSet | None]:
        """Take the lease for ending a grant: no refresh is under way then, and none begins.

        It ends with `grants.forget`, with the connection, or by itself after a minute.

        Raises:
            NotFound: There is no such connection.
            Transient: Somebody else has the lease for too long.
        """
        waited = timedelta(0)
        while waited < PATIENCE:
            held = await self._parts.store.write(lambda tx: self._hold(tx, connection_id))
            if held is not None:
                return held
            await asyncio.sleep(0.2)
            waited += timedelta(seconds=0.2)
        raise errors.Transient("the connection is being refreshed; try again")

    def _hold(self, tx: Tx, connection_id: str) -> tuple[Connection, App, TokenSet | None] | None:
        view = self._view(tx, connection_id, lock=True)
        if view.row.is_held(tx.now):
            return None
        refreshes.take(tx, view.row, self._name, LEASE)
        return view.connection, self._safe.app(tx, view.connection), view.tokens

    def is_stale(self, connection: Connection, tokens: TokenSet, now: datetime) -> bool:
        """Say whether an access token should be refreshed before somebody relies on it for a while."""
        if tokens.expires_at is not None:
            return now >= tokens.expires_at - MARGIN
        lifetime = self._integration(connection).token_lifetime
        since = connection.last_refreshed_at
        return lifetime is not None and (since is None or now >= since + lifetime - MARGIN)

    # -- looking ------------------------------------------------------------------------------------------

    def _look(self, tx: Tx, connection_id: str, refused: str | None) -> _View:
        view = self._view(tx, connection_id, lock=refused is not None)
        tokens = view.tokens
        if refused is None or tokens is None or not _is(tokens.access_token, refused):
            return view
        refreshes.refuse(tx, connection_id, view.connection.generation)
        return self._view(tx, connection_id)

    def _view(self, tx: Tx, connection_id: str, *, lock: bool = False) -> _View:
        found = connections.by_id(tx, connection_id)
        if found is None:
            raise errors.NotFound(f"there is no connection {connection_id!r}")
        row = refreshes.locked(tx, connection_id) if lock else refreshes.of(tx, connection_id)
        if lock:  # whoever held the lock may have saved a newer grant
            found = connections.by_id(tx, connection_id) or found
        return _View(connection=found, tokens=self._safe.tokens(tx, found), row=row, now=tx.now)

    def _ready(self, view: _View, *, fresh: bool) -> AccessToken | None:
        """Return a token without asking anybody, or `None` where a refresh is due.

        Raises:
            NeedsReauth, NeedsAdmin, Transient: Asking now is of no use.
        """
        connection, access = view.connection, view.access
        if view.tokens is None:
            raise _not_connected(connection)
        if connection.state is ConnectionState.NEEDS_REAUTH:
            raise _error(connection)
        backing_off = view.row.retry_at is not None and view.row.retry_at > view.now
        if access is not None and connection.state is not ConnectionState.NEEDS_ADMIN:
            expired = view.tokens.expires_at is not None and view.tokens.expires_at <= view.now
            stale = fresh and not backing_off and self.is_stale(connection, view.tokens, view.now)
            if not expired and not stale:
                return access
        if backing_off:
            raise _error(connection)
        return None

    # -- one refresh for all who ask ----------------------------------------------------------------------

    async def _shared(self, view: _View, *, force: bool) -> AccessToken:
        connection_id = view.connection.id
        task = self._running.get(connection_id)
        if task is None:
            task = asyncio.create_task(self._refreshed(view, force=force), name=f"refresh {connection_id}")
            self._running[connection_id] = task
            task.add_done_callback(lambda done: self._ended(connection_id, done))
        # A caller that is cancelled must not take the request along: its answer has to be saved.
        return await asyncio.shield(task)

    def _ended(self, connection_id: str, done: asyncio.Task[AccessToken]) -> None:
        self._running.pop(connection_id, None)
        if not done.cancelled():
            done.exception()  # whoever asked may have gone away; the state says what happened

    async def _refreshed(self, view: _View, *, force: bool) -> AccessToken:
        seen = view.connection.generation
        connection_id = view.connection.id
        give_up = view.now + PATIENCE
        with self._parts.store.notices.subscribed("connection", connection_id) as notice:
            while True:
                notice.clear()
                step = await self._parts.store.write(lambda tx: self._claim(tx, connection_id, seen))
                if isinstance(step, AccessToken):
                    return step
                if isinstance(step, _Go):
                    done = await self._send(step, force=force)
                    if done is not None:
                        return done
                    continue  # somebody else's grant was saved meanwhile
                if step.now >= give_up:
                    raise errors.Transient("another server is refreshing this connection; try again")
                await self._until(notice, step)

    @staticmethod
    async def _until(notice: asyncio.Event, step: _Wait) -> None:
        # A lost notice costs half a second: the row is read again.
        wait = max(0.01, min(0.5, (step.until - step.now).total_seconds()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(notice.wait(), wait)

    def _claim(self, tx: Tx, connection_id: str, seen: int) -> AccessToken | _Wait | _Go:
        view = self._view(tx, connection_id, lock=True)
        connection, row = view.connection, view.row
        if view.tokens is None:
            raise _not_connected(connection)
        if connection.generation != seen and view.access is not None:
            return view.access
        if row.lease_until is not None and row.is_held(tx.now):
            return _Wait(until=row.lease_until, now=tx.now)
        if row.intent_at is not None and row.intent_generation == connection.generation:
            certain = row.intent_at + DOUBT
            if tx.now < certain:
                return _Wait(until=certain, now=tx.now)
        fence = refreshes.take(tx, row, self._name, LEASE)
        refreshes.intend(tx, connection_id, connection.generation)
        return _Go(connection=connection, app=self._safe.app(tx, connection), tokens=view.tokens, fence=fence)

    # -- asking and saving --------------------------------------------------------------------------------

    async def _send(self, go: _Go, *, force: bool) -> AccessToken | None:
        integration = self._integration(go.connection)
        try:
            flow = integration.refresh(go.app, go.tokens)
            result = await self._parts.http.run(flow, integration.host_rule())
        except errors.Invalid as error:  # the login host is not allowed: nothing was sent
            result = Refusal(kind=Kind.REFUSED, error="host_not_allowed", description=str(error))
        if isinstance(result, Refusal):
            refusal = result
            failed = await self._parts.store.write(lambda tx: self._save_failure(tx, go, refusal))
            return _fallback(failed, force=force) if failed is not None else None
        tokens = grants.trusted(result, go.tokens, integration, self._parts.http.insecure_hosts)
        saved = await self._parts.store.write(lambda tx: self._save(tx, go, tokens))
        return _fallback(saved, force=force) if isinstance(saved, _Failed) else saved

    def _save(self, tx: Tx, go: _Go, tokens: TokenSet) -> AccessToken | _Failed | None:
        row = self._still_ours(tx, go)
        if row is None:
            logger.warning("refresh.superseded", connection_id=go.connection.id)
            return None
        connection, saved = grants.save_refreshed(tx, self._safe, go.connection, tokens)
        refreshes.settle(tx, connection.id)
        self._record(tx, connection, "connection.token_refreshed", {"rotated": _rotated(go.tokens, saved)})
        was_refused = row.refused_generation == go.connection.generation
        if was_refused and saved.access_token == go.tokens.access_token:
            return self._note_policy(tx, connection, "the refused access token was given again")
        return grants.access_of(connection, saved)

    def _save_failure(self, tx: Tx, go: _Go, refusal: Refusal) -> _Failed | None:
        row = self._still_ours(tx, go)
        if row is None:
            return None
        diagnosis = self._integration(go.connection).diagnose(refusal)
        delay = _delay(refusal, row.failures)
        retry_at = None if delay is None else tx.now + delay
        refreshes.fail(tx, row, retry_at=retry_at, keep_intent=not refusal.answered)
        grants.set_diagnosed(tx, go.connection.id, diagnosis)
        connections.touch(tx, go.connection.id, checked_at=tx.now)
        details: dict[str, object] = {"kind": str(refusal.kind), "provider": refusal.words}
        self._record(tx, go.connection, "connection.refresh_failed", details)
        logger.warning("refresh.failed", connection_id=go.connection.id, kind=str(refusal.kind))
        view = self._view(tx, go.connection.id)
        return _Failed(connection=view.connection, kind=refusal.kind, access=view.access)

    def _still_ours(self, tx: Tx, go: _Go) -> Refresh | None:
        """Return the row where lease and grant are the ones that the request left with."""
        row = refreshes.locked(tx, go.connection.id)
        found = connections.by_id(tx, go.connection.id)
        same_grant = found is not None and found.generation == go.connection.generation
        return row if same_grant and row.fence == go.fence and row.lease_owner == self._name else None

    async def _refused_by_policy(self, view: _View, words: str) -> errors.NinelivesError:
        failed = await self._parts.store.write(lambda tx: self._note_policy(tx, view.connection, words))
        return _error(failed.connection)

    def _note_policy(self, tx: Tx, connection: Connection, words: str) -> _Failed:
        """Note that new tokens do not help: a policy of the account is in the way."""
        integration = self._integration(connection)
        refusal = Refusal(kind=Kind.NEEDS_ADMIN, error="", description=words, status=401)
        diagnosis = replace(integration.diagnose(refusal), state=ConnectionState.NEEDS_ADMIN)
        refreshes.locked(tx, connection.id)
        current = connections.by_id(tx, connection.id) or connection
        refreshes.refuse(tx, current.id, current.generation)
        # The lease stays with whoever has it: a request may be under way whose answer has to be saved.
        refreshes.postpone(tx, current.id, tx.now + SLOW_RETRY)
        grants.set_diagnosed(tx, current.id, diagnosis)
        details: dict[str, object] = {"kind": "policy", "provider": words}
        self._record(tx, current, "connection.token_refused", details)
        now = connections.by_id(tx, current.id) or current
        return _Failed(connection=now, kind=Kind.NEEDS_ADMIN, access=None)

    def _integration(self, connection: Connection) -> Integration:
        return self._parts.registry.get(connection.integration)

    @staticmethod
    def _record(tx: Tx, connection: Connection, action: str, details: dict[str, object]) -> None:
        by: Actor = system(connection.org_id)
        audit.record(tx, by, action, connection.id, project_id=connection.project_id, details=details)


def _is(token: str, refused: str) -> bool:
    return refused in {token, hashlib.sha256(token.encode()).hexdigest()}


def _rotated(old: TokenSet, new: TokenSet) -> bool:
    return old.refresh_token != new.refresh_token


def _fallback(failed: _Failed, *, force: bool) -> AccessToken:
    """After a hiccup a token that nobody has reported may still be used; else say who must act."""
    if failed.kind is Kind.TRANSIENT and failed.access is not None and not force:
        return failed.access
    raise _error(failed.connection)


def _delay(refusal: Refusal, failures: int) -> timedelta | None:
    if refusal.kind is Kind.NEEDS_REAUTH:
        return None
    if refusal.kind is not Kind.TRANSIENT:
        return SLOW_RETRY
    base = min(LONGEST_BACKOFF, timedelta(seconds=2 ** min(failures, 10)))
    return base * (0.5 + secrets.randbelow(1000) / 1000)


def _not_connected(connection: Connection) -> errors.NeedsReauth:
    return errors.NeedsReauth(
        f"connection {connection.name!r} is not connected; authorise it on its page, or run"
        f" `ninelives connection init {connection.id}`"
    )


def _error(connection: Connection) -> errors.NinelivesError:
    """Return the typed error of a connection's state, with the way out."""
    said = f" ({connection.provider_reason})" if connection.provider_reason else ""
    text = f"connection {connection.name!r}: {connection.reason or connection.state}{said}"
    match connection.state:
        case ConnectionState.NEEDS_REAUTH | ConnectionState.DISCONNECTED:
            return errors.NeedsReauth(
                f"{text}; connect it again on its page, or run `ninelives connection init {connection.id}`"
            )
        case ConnectionState.NEEDS_ADMIN:
            return errors.NeedsAdmin(f"{text}; see `ninelives connection doctor {connection.id}`")
        case _:
            return errors.Transient(f"{text}; it is tried again")
