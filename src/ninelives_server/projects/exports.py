"""A project as files: its code, and a manifest (v2) that says what the server has now.

Deployed again, it gives the same project, apart from secrets and grants, which never leave the server.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ninelives_server.integrations.registry import Registry
from ninelives_server.model.connections import Connection
from ninelives_server.model.projects import Build, Project, Variable
from ninelives_server.model.triggers import Trigger, TriggerType
from ninelives_server.projects import bundles, manifest
from ninelives_server.projects.bundles import Bundle, File

_NAME = manifest.FILE_NAMES[0]
#: The earliest that a zip can say; times are not part of a project.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_HEAD = "# Written by `ninelives project export`: what the server had, without secrets.\n"


def manifest_text(
    project: Project,
    *,
    variables: Sequence[Variable],
    connections: Sequence[Connection],
    triggers: Sequence[Trigger],
    registry: Registry,
    limits: Mapping[str, int],
) -> str:
    """Return the manifest of a project.

    Args:
        project: The project.
        variables: As people see them: secrets without their values.
        connections: All that a trigger may name; those of the org are not written down.
        triggers: The project's.
        registry: Knows which fields of a connection are secret.
        limits: What a session may use, where the code in service came with it.
    """
    names = {connection.id: connection.name for connection in connections}
    own = [connection for connection in connections if connection.project_id == project.id]
    retention = {
        "sessions": project.retain_sessions,
        "events": project.retain_events,
        "logs": project.retain_logs,
    }
    body: dict[str, Any] = {"name": project.name}
    if project.display_name:
        body["display_name"] = project.display_name
    body["retention"] = retention
    if project.max_concurrent:
        body["max_concurrent"] = project.max_concurrent
    if limits:
        body["limits"] = dict(limits)
    if variables:
        body["vars"] = [_variable(item) for item in variables]
    if own:
        body["connections"] = [_connection(item, registry) for item in own]
    if triggers:
        body["triggers"] = [_trigger(item, names) for item in triggers]
    written = {"version": "v2", "project": body}
    return _HEAD + yaml.safe_dump(written, sort_keys=False, allow_unicode=True, width=110)


def limits_of(build: Build | None) -> Mapping[str, int]:
    """Return the limits in the manifest of a build."""
    project = (build.manifest or {}).get("project") if build else None
    found = project.get("limits") if isinstance(project, dict) else None
    return found or {}


def files(bundle: Bundle | None, text: str) -> dict[str, File]:
    """Return a project's files with this manifest; its author's own is kept beside it, as `….user`."""
    found = {} if bundle is None else dict(bundle.files)
    for name in manifest.FILE_NAMES:
        old = found.pop(name, None)
        if old is not None and old.data != text.encode():
            found.setdefault(f"{name}.user", old)
    return {**found, _NAME: File(text.encode())}


def packed(bundle: bytes | None, text: str) -> bytes:
    """Return the files of a stored bundle and a manifest as a zip."""
    return zipped(files(None if bundle is None else bundles.read(bundle), text))


def zipped(found: Mapping[str, File]) -> bytes:
    """Return files as a zip; the same files give the same bytes."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(found):
            entry = zipfile.ZipInfo(path, _NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if found[path].is_executable else 0o644) << 16
            archive.writestr(entry, found[path].data)
    return raw.getvalue()


def _variable(item: Variable) -> dict[str, Any]:
    found: dict[str, Any] = {"name": item.name, "value": item.value or ""}
    if item.description:
        found["description"] = item.description
    return {**found, "secret": True} if item.is_secret else found


def _connection(item: Connection, registry: Registry) -> dict[str, Any]:
    found: dict[str, Any] = {"name": item.name, "integration": item.integration}
    modes = registry.get(item.integration).auth_modes
    if item.auth_mode != modes[0].name:
        found["auth_mode"] = item.auth_mode
    secret = {field.name for mode in modes for field in mode.fields if field.is_secret}
    settings = [
        (name, value) for name, value in sorted(item.settings.items()) if value and name not in secret
    ]
    if settings:
        found["vars"] = [{"name": name, "value": value} for name, value in settings]
    return found


def _trigger(item: Trigger, names: Mapping[Any, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"name": item.name, "type": str(item.type)}
    if item.connection_id is not None:
        found["connection"] = names[item.connection_id]
    if item.type is TriggerType.SCHEDULE:
        found |= {"schedule": item.schedule, "timezone": item.timezone}
    found |= {key: value for key in ("event_type", "filter", "call") if (value := getattr(item, key))}
    found["is_durable"] = item.is_durable
    if item.is_sync:
        found["is_sync"] = True
    known = manifest.schema()["$defs"]["trigger"]["properties"]
    return found | {key: value for key, value in item.options.items() if key in known}
