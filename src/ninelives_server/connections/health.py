"""How connections fare: test, doctor, and the end of a grant at its provider."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from ninelives_server.connections import grants, parts
from ninelives_server.connections.parts import Parts
from ninelives_server.connections.refresh import Refresher
from ninelives_server.connections.safe import Safe
from ninelives_server.errors import NinelivesError
from ninelives_server.integrations.contract import App, Check, Diagnosis
from ninelives_server.model.actors import Actor
from ninelives_server.model.connections import Connection, ConnectionState
from ninelives_server.oauth.tokens import TokenSet
from ninelives_server.store import audit, connections, refreshes
from ninelives_server.store.core import Tx

#: A hiccup is looked at again after this.
SOON = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """What a test found; `next_steps` in order, empty where it works."""

    __test__ = False  # no test class, whatever pytest thinks of the name

    ok: bool
    message: str
    next_steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeReport:
    """What became of a grant at its provider."""

    revoked: bool
    message: str


class Health:
    """Asks providers how a connection fares, and keeps what they say."""

    def __init__(self, shared: Parts, refresher: Refresher) -> None:
        self._parts = shared
        self._safe = Safe(shared.vault)
        self._refresher = refresher

    async def test(self, actor: Actor, connection: Connection) -> TestResult:
        """Make the integration's cheap call; a refused token is refreshed once and tried again."""
        integration = self._parts.registry.get(connection.integration)
        if not self._parts.registry.mode(connection.integration, connection.auth_mode).uses_oauth:
            return await self._entered(actor, connection)
        refused: str | None = None
        words = ""
        while True:
            try:
                access = await self._refresher.token(connection.id, refused=refused, words=words)
            except NinelivesError as error:
                return await self._told(actor, connection, str(error))
            app, tokens = await self._parts.store.read(lambda tx: self._opened(tx, connection.id))
            if tokens is None:
                return await self._told(actor, connection, "it is not authorised")
            diagnosis = await self._parts.http.run(integration.probe(app, tokens), integration.host_rule())
            if (
                diagnosis is None
                or diagnosis.state is not ConnectionState.NEEDS_REAUTH
                or refused is not None
            ):
                break
            refused, words = access.token, diagnosis.provider_words
        return await self._parts.store.write(lambda tx: self._tested(tx, actor, connection.id, diagnosis))

    async def _entered(self, actor: Actor, connection: Connection) -> TestResult:
        """Say whether everything is entered: without OAuth nothing is asked of the service."""
        if connection.state is not ConnectionState.OK:
            return await self._told(actor, connection, connection.reason or "it is not set up yet")

        def note(tx: Tx) -> None:
            _record_test(tx, actor, connection, ok=True)

        await self._parts.store.write(note)
        title = self._parts.registry.get(connection.integration).title
        return TestResult(ok=True, message=f"everything is entered; nothing was asked of {title}")

    async def _told(self, actor: Actor, connection: Connection, message: str) -> TestResult:
        def note(tx: Tx) -> None:
            connections.touch(tx, connection.id, checked_at=tx.now)
            _record_test(tx, actor, connection, ok=False)

        await self._parts.store.write(note)
        return TestResult(
            ok=False, message=message, next_steps=("Look at the connection's state and reason",)
        )

    def _opened(self, tx: Tx, connection_id: str) -> tuple[App, TokenSet | None]:
        found = connections.by_id(tx, connection_id)
        if found is None:
            return App(settings={}), None
        return self._safe.app(tx, found), self._safe.tokens(tx, found)

    def _tested(self, tx: Tx, actor: Actor, connection_id: str, diagnosis: Diagnosis | None) -> TestResult:
        current = connections.by_id(tx, connection_id, lock=True)
        if current is None:
            return TestResult(ok=False, message="the connection was deleted meanwhile")
        connections.touch(tx, connection_id, checked_at=tx.now)
        _record_test(tx, actor, current, ok=diagnosis is None)
        if diagnosis is not None:
            grants.set_diagnosed(tx, connection_id, diagnosis)
            refreshes.locked(tx, connection_id)
            is_passing = diagnosis.state is ConnectionState.DEGRADED
            refreshes.postpone(tx, connection_id, tx.now + (SOON if is_passing else grants.SLOW_RETRY))
            words = f" ({diagnosis.provider_words})" if diagnosis.provider_words else ""
            return TestResult(ok=False, message=diagnosis.message + words, next_steps=diagnosis.next_steps)
        connections.set_state(tx, connection_id, ConnectionState.OK)
        who = f" as {current.account.user}" if current.account else ""
        return TestResult(ok=True, message=f"works{who}")

    async def doctor(self, actor: Actor, connection: Connection) -> Sequence[Check]:
        """Check the callback address, the token, and what the integration knows."""
        if not self._parts.registry.mode(connection.integration, connection.auth_mode).uses_oauth:
            result = await self._entered(actor, connection)
            return [Check(name="entered", status="ok" if result.ok else "failed", message=result.message)]
        found = [_callback(self._parts)]
        try:
            await self._refresher.token(connection.id)
        except NinelivesError as error:
            return [*found, Check(name="token", status="failed", message=str(error))]
        found.append(Check(name="token", status="ok", message="there is an access token"))
        integration = self._parts.registry.get(connection.integration)
        app, tokens = await self._parts.store.read(lambda tx: self._opened(tx, connection.id))
        if tokens is not None:
            flow = integration.doctor(app, tokens)
            found += await self._parts.http.run(flow, integration.host_rule())

        def note(tx: Tx) -> None:
            connections.touch(tx, connection.id, checked_at=tx.now)
            _record_test(tx, actor, connection, ok=all(check.status != "failed" for check in found))

        await self._parts.store.write(note)
        return found

    async def revoke(self, connection_id: str) -> tuple[RevokeReport, Connection]:
        """End the grant at the provider while no refresh of it is under way; forget nothing here yet."""
        connection, app, tokens = await self._refresher.hold(connection_id)
        if tokens is None:
            return RevokeReport(revoked=False, message="there was no grant to revoke"), connection
        integration = self._parts.registry.get(connection.integration)
        try:
            flow = integration.revoke(app, tokens)
            refusal = await self._parts.http.run(flow, integration.host_rule())
        except NinelivesError as error:
            return RevokeReport(revoked=False, message=f"not revoked: {error}"), connection
        if refusal is None:
            return RevokeReport(revoked=True, message=f"revoked at {integration.title}"), connection
        return (
            RevokeReport(
                revoked=False,
                message=f"{integration.title} did not confirm it ({refusal.words}); revoke it there by hand",
            ),
            connection,
        )


def _callback(shared: Parts) -> Check:
    warning = parts.callback_warning(shared.base_url)
    if warning is None:
        return Check(
            name="callback", status="ok", message=f"callbacks come to {shared.base_url}/oauth/redirect"
        )
    return Check(name="callback", status="failed", message=warning)


def _record_test(tx: Tx, actor: Actor, connection: Connection, *, ok: bool) -> None:
    audit.record(
        tx, actor, "connection.tested", connection.id, project_id=connection.project_id, details={"ok": ok}
    )
