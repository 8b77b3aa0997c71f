"""Connections: made, edited, authorised, tested, used and ended. Calls take an actor and keep to its org.

No secret is ever returned but the access token that `access_token` and `session_environment` are for.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from ninelives_server.connections import entering, explain, grants, health, parts, refs
from ninelives_server.connections.grants import AccessToken
from ninelives_server.connections.health import RevokeReport, TestResult
from ninelives_server.connections.keeper import Keeper
from ninelives_server.connections.keys import Keys, used
from ninelives_server.connections.pages import FlowStatus, StartLink
from ninelives_server.connections.refresh import Refresher
from ninelives_server.connections.safe import Safe
from ninelives_server.connections.tickets import Tickets
from ninelives_server.errors import Conflict, NinelivesError, NotFound
from ninelives_server.ids import ConnectionId
from ninelives_server.integrations.contract import Check
from ninelives_server.integrations.http import Outbound
from ninelives_server.integrations.registry import Registry
from ninelives_server.model.actors import Actor, Role, system
from ninelives_server.model.connections import Connection, ConnectionState
from ninelives_server.settings import Settings
from ninelives_server.store import audit, connections, oauth_flows
from ninelives_server.store.core import Store, Tx
from ninelives_server.vault.vault import Vault


class Connections:
    """The use cases of connections."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        registry: Registry,
        settings: Settings,
        http: Outbound | None = None,
    ) -> None:
        self._parts = parts.parts(store=store, vault=vault, registry=registry, settings=settings, http=http)
        self._store = store
        self._registry = registry
        self._safe = Safe(vault)
        self._tickets = Tickets(self._parts)
        self._refresher = Refresher(self._parts)
        self._keys = Keys(self._registry, self._safe)
        self._health = health.Health(self._parts, self._refresher)
        self._keeper = Keeper(self._parts, self._refresher, self._health)

    async def run(self) -> None:
        """Look after connections until cancelled: try again what failed, keep alive what nobody uses."""
        await self._keeper.run()

    async def close(self) -> None:
        """Wait for the answers of requests that have left, so that no rotated token is lost."""
        await self._refresher.close()

    # -- made and edited ----------------------------------------------------------------------------------

    async def create(
        self,
        actor: Actor,
        project_ref: str,
        name: str,
        integration: str,
        auth_mode: str | None = None,
        settings: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> Connection:
        """Make a connection in a project; where its mode uses OAuth, authorise it afterwards.

        Raises:
            NotFound: There is no such project.
            Invalid: A value cannot be used; `fields` says which.
            Conflict: The project has a connection of this name.
        """
        actor.needs(Role.MEMBER)
        mode = self._registry.mode(integration, auth_mode)
        integration = self._registry.get(integration).name
        entered = entering.checked(
            self._registry.get(integration),
            mode,
            settings or {},
            secrets or {},
            self._parts.http.insecure_hosts,
        )
        entering.checked_name(name)

        def make(tx: Tx) -> Connection:
            project = refs.project(tx, actor, project_ref)
            new = entering.new_connection(tx, actor, project, name=name, integration=integration, mode=mode)
            connections.insert(tx, entering.with_settings(new, entered.settings))
            self._safe.put(tx, new, entered.secret_bytes)
            details = {"name": name, "integration": integration, "auth_mode": mode.name}
            audit.record(tx, actor, "connection.created", new.id, project_id=project.id, details=details)
            return refs.connection(tx, actor, new.id)

        return await self._store.write(make)

    async def get(self, actor: Actor, ref: str) -> Connection:
        """Return a connection by id or `PROJECT/NAME`."""
        actor.needs(Role.VIEWER)
        return await self._store.read(lambda tx: refs.connection(tx, actor, ref))

    async def list(self, actor: Actor, project_ref: str | None = None) -> Sequence[Connection]:
        """Return the connections of a project, or of all that the actor may see."""
        actor.needs(Role.VIEWER)

        def look(tx: Tx) -> Sequence[Connection]:
            if project_ref is None:
                return connections.of_org(tx, actor.org_id)
            return connections.of_project(tx, refs.project(tx, actor, project_ref).id)

        return await self._store.read(look)

    async def edit(
        self,
        actor: Actor,
        ref: str,
        settings: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        name: str | None = None,
        auth_mode: str | None = None,
    ) -> Connection:
        """Change what was entered: the mode stays, and so does whatever is blank or left out.

        Only a connection that was never set up, as one that a manifest has brought, takes another mode.

        A grant is kept; where client id or environment changed, it belongs to another app, and the state says
        that it has to be authorised again.
        """
        actor.needs(Role.MEMBER)
        old = await self.get(actor, ref)
        integration = self._registry.get(old.integration)
        mode = self._registry.mode(old.integration, auth_mode or old.auth_mode)
        entering.checked_mode(old, mode)
        entered = entering.edited(
            integration, mode, old, settings or {}, secrets or {}, self._parts.http.insecure_hosts
        )
        if name is not None:
            entering.checked_name(name)

        def change(tx: Tx) -> Connection:
            current = refs.connection(tx, actor, old.id, lock=True)
            entering.checked_mode(current, mode)
            connections.set_entered(
                tx, current, name=name or current.name, settings=entered.settings, auth_mode=mode.name
            )
            self._safe.put(tx, current, entered.secret_bytes)
            entering.settle_after_edit(tx, current, mode, entered)
            details = {"fields": entering.changed_fields(current, entered), "renamed": name is not None}
            audit.record(
                tx, actor, "connection.edited", current.id, project_id=current.project_id, details=details
            )
            return refs.connection(tx, actor, current.id)

        return await self._store.write(change)

    # -- ended --------------------------------------------------------------------------------------------

    async def disconnect(self, actor: Actor, ref: str) -> RevokeReport:
        """Revoke the grant at the provider and forget it here; what was entered stays."""
        actor.needs(Role.MEMBER)
        connection = await self.get(actor, ref)
        report, _ = await self._health.revoke(connection.id)

        def forget(tx: Tx) -> None:
            current = refs.connection(tx, actor, connection.id, lock=True)
            grants.forget(tx, self._safe, current)
            connections.set_state(
                tx, current.id, ConnectionState.DISCONNECTED, reason="disconnected here; " + report.message
            )
            self._audit_end(tx, actor, current, "connection.disconnected", report)

        await self._store.write(forget)
        return report

    async def delete(self, actor: Actor, ref: str, *, keep_grant: bool = False) -> RevokeReport:
        """Delete a connection; its grant is revoked at the provider unless it is to be kept."""
        actor.needs(Role.MEMBER)
        connection = await self.get(actor, ref)
        if keep_grant:
            report = RevokeReport(revoked=False, message="the grant at the provider was kept, as asked")
        else:
            report, _ = await self._health.revoke(connection.id)

        def remove(tx: Tx) -> None:
            current = refs.connection(tx, actor, connection.id, lock=True)
            connections.delete(tx, current.id)
            self._audit_end(tx, actor, current, "connection.deleted", report)

        await self._store.write(remove)
        return report

    async def revoke_all(self, actor: Actor, project_ref: str) -> Sequence[RevokeReport]:
        """Revoke the grants of a project's connections, as before the project is deleted."""
        return [
            await self.disconnect(actor, connection.id)
            for connection in await self.list(actor, project_ref)
            if connection.account is not None
        ]

    @staticmethod
    def _audit_end(tx: Tx, actor: Actor, connection: Connection, action: str, report: RevokeReport) -> None:
        details = {"name": connection.name, "revoked": report.revoked, "message": report.message}
        audit.record(tx, actor, action, connection.id, project_id=connection.project_id, details=details)

    # -- authorised ---------------------------------------------------------------------------------------

    def callback_url(self, integration: str) -> str:
        """Return the callback to enter in an app of this integration."""
        return self._parts.callback_url(integration)

    def callback_warning(self) -> str | None:
        """Say what is wrong with callbacks at this server's address, if anything."""
        return parts.callback_warning(self._parts.base_url)

    async def begin(self, actor: Actor, ref: str, return_to: str = "") -> StartLink:
        """Make a link under which a browser starts an authorisation, good for ten minutes and one start.

        Raises:
            Conflict: Something that is required was never entered.
        """
        actor.needs(Role.MEMBER)

        def issue(tx: Tx) -> StartLink:
            return self._tickets.issue(tx, actor, refs.connection(tx, actor, ref), return_to)

        return await self._store.write(issue)

    async def flow_status(self, actor: Actor, flow_id: str) -> FlowStatus:
        """Tell how an authorisation fares; notices on channel `flow` say when to look again."""
        actor.needs(Role.VIEWER)

        def look(tx: Tx) -> FlowStatus:
            row = oauth_flows.by_id(tx, flow_id)
            if row is None:
                raise NotFound(f"there is no authorisation {flow_id!r}")
            connection = refs.connection(tx, actor, row.connection_id)
            return explain.status(tx, row, connection)

        return await self._store.read(look)

    # -- looked after -------------------------------------------------------------------------------------

    async def test(self, actor: Actor, ref: str) -> TestResult:
        """Call the provider once and say whether it works; the state follows what it says."""
        actor.needs(Role.MEMBER)
        return await self._health.test(actor, await self.get(actor, ref))

    async def doctor(self, actor: Actor, ref: str) -> Sequence[Check]:
        """Run every check of the server and of the integration."""
        actor.needs(Role.MEMBER)
        return await self._health.doctor(actor, await self.get(actor, ref))

    async def refresh(self, actor: Actor, ref: str, *, force: bool = True) -> Connection:
        """Refresh the access token now.

        Raises:
            NeedsReauth, NeedsAdmin, Transient: It did not work; the message says who can act.
        """
        actor.needs(Role.MEMBER)
        connection = await self.get(actor, ref)
        if not self._registry.mode(connection.integration, connection.auth_mode).uses_oauth:
            raise Conflict(f"connection {connection.name!r} has a key; there is nothing to refresh")
        await self._refresher.token(connection.id, force=force)
        return await self.get(actor, connection.id)

    async def counts(self) -> dict[ConnectionState, int]:
        """Return how many connections of the whole server are in each state, for its metrics."""
        return await self._store.read(connections.counts)

    # -- used ---------------------------------------------------------------------------------------------

    async def access_token(
        self, connection_id: str, actor: Actor, refused: str | None = None, words: str = ""
    ) -> AccessToken:
        """Return an access token for use now.

        `refused` is one that the provider answered with a 401 (or its SHA-256 in hex), `words` what it said;
        that one is never handed out again.

        Raises:
            NotFound: There is no such connection in the actor's org.
            NeedsReauth, NeedsAdmin, Transient: There is none to be had; the message says who can act.
        """
        connection = await self._store.read(lambda tx: refs.connection(tx, actor, connection_id))
        if not self._registry.mode(connection.integration, connection.auth_mode).uses_oauth:
            return await self._store.write(lambda tx: self._keys.token(tx, actor, connection))
        found = await self._refresher.token(connection.id, refused=refused, words=words)
        await self._store.write(lambda tx: used(tx, actor, connection))
        return found

    async def project_token(
        self, project_id: str, name: str, actor: Actor, refused: str | None = None, words: str = ""
    ) -> AccessToken:
        """Return an access token of the connection with this name in a project, for its sessions."""
        ref = f"{project_id}/{name}"
        connection = await self._store.read(lambda tx: refs.connection(tx, actor, ref))
        return await self.access_token(connection.id, actor, refused, words)

    async def prepare(self, project_id: str) -> None:
        """Refresh what is about to run out among a project's tokens, before a session's process starts.

        Failures are the connections' own: they show in their state and where the token is used.
        """
        for connection_id in await self._store.read(lambda tx: self._stale(tx, project_id)):
            try:
                await self._refresher.token(connection_id, fresh=True)
            except NinelivesError:
                continue

    def _stale(self, tx: Tx, project_id: str) -> Sequence[ConnectionId]:
        usable = {ConnectionState.OK, ConnectionState.DEGRADED}
        found = []
        for connection in connections.of_project(tx, project_id):
            tokens = self._safe.tokens(tx, connection) if connection.state in usable else None
            if tokens is not None and self._refresher.is_stale(connection, tokens, tx.now):
                found.append(connection.id)
        return found

    def session_environment(
        self, tx: Tx, project_id: str, actor: Actor | None = None
    ) -> tuple[Mapping[str, str], AbstractSet[str]]:
        """Return the variables by which a project's sessions find its connections, and the values to mask.

        A connection that is not authorised has its id, and what its manifest says, so that helpers can say
        which one it is.
        """
        environment: dict[str, str] = {}
        masked: set[str] = set()
        for connection in connections.of_project(tx, project_id):
            found, hidden = self._keys.environment(tx, actor or system(connection.org_id), connection)
            environment |= found
            masked |= hidden
        return environment, masked
