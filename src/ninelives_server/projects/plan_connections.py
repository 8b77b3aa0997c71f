"""Connections in a plan: new ones wait to be authorised, those that are there are adopted as they are.

No credential is touched, and nothing that somebody has set up is deleted.
"""

from collections.abc import Mapping

from ninelives_server import ids
from ninelives_server.errors import Invalid
from ninelives_server.ids import ConnectionId
from ninelives_server.integrations import entered
from ninelives_server.model.connections import Connection, ConnectionState
from ninelives_server.projects.manifest import Manifest, ManifestConnection
from ninelives_server.projects.planning import Scene
from ninelives_server.store import connections

_UNAUTHORISED = {ConnectionState.NEW, ConnectionState.INIT_REQUIRED}


def plan(scene: Scene, manifest: Manifest) -> dict[str, ConnectionId]:
    """Plan new connections; return the ids of all that a trigger may name: the project's, else the org's."""
    org = connections.of_org(scene.tx, scene.actor.org_id)
    mine = {c.name: c for c in org if c.project_id == scene.plan.project_id}
    known = {c.name: c.id for c in org if c.project_id is None}
    known |= {name: connection.id for name, connection in mine.items()}
    for wanted in manifest.connections:
        there = mine.get(wanted.name)
        if there is None:
            known[wanted.name] = _create(scene, manifest, wanted)
        else:
            _adopt(scene, manifest, wanted, there)
        if there is None or there.state in _UNAUTHORISED:
            scene.plan.warnings.append(_way_to_set_up(scene, wanted, there))
    return known


def plan_removal(scene: Scene, manifest: Manifest) -> None:
    """Plan to delete what a manifest brought and has no more, unless somebody has set it up."""
    if scene.plan.is_new_project:
        return
    needed = {connection.name for connection in manifest.connections}
    needed |= {trigger.connection for trigger in manifest.triggers}
    for connection in connections.of_project(scene.tx, scene.plan.project_id):
        if connection.name in needed or connection.name not in scene.declared_before["connections"]:
            continue
        if connection.state in _UNAUTHORISED and not connection.secrets_set:
            _delete(scene, connection)
        else:
            scene.plan.warnings.append(
                f"connection {connection.name} is not in the manifest any more and is kept, because somebody "
                f"has set it up; `ninelives connection delete {scene.wanted.name}/{connection.name}` "
                "revokes and deletes it"
            )


def _create(scene: Scene, manifest: Manifest, wanted: ManifestConnection) -> ConnectionId:
    connection = Connection(
        id=ConnectionId(ids.new("con")),
        org_id=scene.actor.org_id,
        project_id=scene.plan.project_id,
        name=wanted.name,
        integration=scene.registry.get(wanted.integration).name,
        auth_mode=scene.registry.mode(wanted.integration, wanted.auth_mode or None).name,
        state=ConnectionState.INIT_REQUIRED,
        state_since=scene.tx.now,
        reason="",
        provider_reason="",
        settings=_settings(scene, manifest, wanted, {}),
        secrets_set=frozenset(),
        account=None,
        account_key=None,
        generation=0,
        last_checked_at=None,
        last_refreshed_at=None,
        last_used_at=None,
        created_at=scene.tx.now,
        created_by=scene.actor.id,
    )

    def step() -> None:
        connections.insert(scene.tx, connection)
        details = {"name": wanted.name, "integration": wanted.integration}
        scene.record("connection.created", connection.id, details)

    scene.plan.add(f"create connection {wanted.name} ({wanted.integration})", step)
    return connection.id


def _way_to_set_up(scene: Scene, wanted: ManifestConnection, there: Connection | None) -> str:
    mode = scene.registry.mode(
        wanted.integration, wanted.auth_mode or None if there is None else there.auth_mode
    )
    name = f"{scene.wanted.name}/{wanted.name}"
    if mode.uses_oauth:
        return f"connection {wanted.name} has to be authorised: `ninelives connection init {name}`"
    fields = " ".join(
        f"--set {f.name}={'-' if f.is_secret else f.name.upper()}" for f in mode.fields if f.required
    )
    line = f"connection {wanted.name} has to be set up: `ninelives connection edit {name} {fields}`"
    if not any(f.is_client_secret for f in mode.fields):
        return line
    return (
        f"{line}, with `--set {entered.GIVE}=yes`: its library needs the secret, and project code can read it"
    )


def _adopt(scene: Scene, manifest: Manifest, wanted: ManifestConnection, there: Connection) -> None:
    """Take what is there; only settings that its form does not have follow the manifest."""
    if there.integration != scene.registry.get(wanted.integration).name:
        line = wanted.lines.get("integration", wanted.lines[""])
        raise Invalid(
            f"{manifest.file}:{line}: connection {wanted.name!r} is a {there.integration} connection "
            f"already, not {wanted.integration}; give this one another name, or delete the old one",
            code="manifest_invalid",
        )
    settings = _settings(scene, manifest, wanted, there.settings)
    if settings == dict(there.settings):
        return

    def step() -> None:
        name, mode = there.name, there.auth_mode
        connections.set_entered(scene.tx, there, name=name, settings=settings, auth_mode=mode)
        scene.record("connection.edited", there.id, {"by": "manifest"})

    scene.plan.add(f"change settings of connection {wanted.name}", step)


def _settings(
    scene: Scene, manifest: Manifest, wanted: ManifestConnection, there: Mapping[str, str]
) -> dict[str, str]:
    """Return a connection's settings: what was entered stays, the manifest's own are added."""
    modes = scene.registry.get(wanted.integration).auth_modes
    fields = {field.name: field for mode in modes for field in mode.fields}
    settings = dict(there)
    for variable in wanted.variables:
        field = fields.get(variable.name)
        if variable.is_secret or (field is not None and field.is_secret):
            if variable.value:
                scene.plan.warnings.append(
                    f"{manifest.file}:{variable.line}: secrets of connections are not taken from a manifest; "
                    f"enter {variable.name} in the form of {wanted.name}"
                )
        elif variable.value and not (field is not None and settings.get(variable.name)):
            settings[variable.name] = variable.value
    return settings


def _delete(scene: Scene, connection: Connection) -> None:
    def step() -> None:
        connections.delete(scene.tx, connection.id)
        scene.record("connection.deleted", connection.id, {"name": connection.name})

    name = connection.name
    scene.plan.add(f"delete connection {name}, which the manifest does not have any more", step)
