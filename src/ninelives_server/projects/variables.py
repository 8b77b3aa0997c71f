"""A project's variables: sealed with its data key, opened for its sessions, and for people unless secret."""

import re
from collections.abc import Mapping

from ninelives_server.errors import Invalid
from ninelives_server.ids import ProjectId
from ninelives_server.model.projects import Variable
from ninelives_server.store import projects
from ninelives_server.store.core import Tx
from ninelives_server.store.projects import StoredVariable
from ninelives_server.vault.vault import Vault

_NAME = re.compile(r"[^=\s\x00]{1,200}")
#: A variable becomes part of an environment, whose size the kernel limits. bytes
LARGEST = 100_000


def checked(name: str, value: str) -> None:
    """Refuse what cannot stand in an environment.

    Raises:
        Invalid: Names the variable, never its value.
    """
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"a variable's name has 1 to 200 characters without = and white space; {name[:50]!r} is none",
            fields={"name": "1 to 200 characters without = and white space"},
        )
    if "\x00" in value or len(value.encode("utf-8", "surrogatepass")) > LARGEST:
        raise Invalid(
            f"the value of {name} has a NUL character or more than {LARGEST} bytes; put it into a file",
            fields={"value": f"at most {LARGEST} bytes"},
        )


def opened(tx: Tx, vault: Vault, project_id: str) -> dict[str, tuple[StoredVariable, str]]:
    """Return all variables with their values, by name."""
    return {
        stored.name: (
            stored,
            vault.open(tx, project_id, _context(project_id, stored.name), stored.sealed_value).decode(),
        )
        for stored in projects.variables_of(tx, project_id)
    }


def put(
    tx: Tx,
    vault: Vault,
    project_id: str,
    *,
    name: str,
    value: str,
    is_secret: bool,
    description: str,
    created_by: str,
) -> None:
    """Seal and save a variable."""
    sealed = vault.seal(tx, project_id, _context(project_id, name), value.encode())
    stored = StoredVariable(
        name=name, sealed_value=sealed, is_secret=is_secret, description=description, updated_at=tx.now
    )
    projects.put_variable(tx, project_id, stored, created_by=created_by)


def for_people(tx: Tx, vault: Vault, project_id: str) -> list[Variable]:
    """Return all variables; the values of secrets are not among what is returned."""
    return [
        Variable(
            project_id=ProjectId(project_id),
            name=stored.name,
            value=None if stored.is_secret else value,
            is_secret=stored.is_secret,
            is_set=value != "",
            description=stored.description,
            updated_at=stored.updated_at,
        )
        for stored, value in opened(tx, vault, project_id).values()
    ]


def environment(tx: Tx, vault: Vault, project_id: str) -> Mapping[str, str]:
    """Return what sessions find in their environment."""
    return {name: value for name, (_, value) in opened(tx, vault, project_id).items()}


def _context(project_id: str, name: str) -> str:
    return f"variables:{project_id}/{name}:value"
