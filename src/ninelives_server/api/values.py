"""The store over HTTP, for its project's people; what everybody may read is in `api.store`."""

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from ninelives_server.api import bodies, documents
from ninelives_server.api.auth import TheActor, TheServices

router = APIRouter(prefix="/api/v1", tags=["store"])


class StoredValue(bodies.Body):
    """A value: anything that JSON can hold."""

    value: Any = Field(repr=False)


class Publication(bodies.Body):
    """Whether everybody may read a value."""

    is_published: bool = True


@router.get("/projects/{project}/store")
async def list_values(
    project: str, services: TheServices, actor: TheActor
) -> documents.Page[documents.StoreKeyDoc]:
    """List the keys of a project's store, sorted."""
    found = await services.values.list(actor, project)
    return documents.Page(items=documents.many(documents.StoreKeyDoc, found))


@router.get("/projects/{project}/store/{key:path}")
async def get_value(
    project: str, key: str, services: TheServices, actor: TheActor
) -> documents.StoreValueDoc:
    """Show a value."""
    return documents.StoreValueDoc.model_validate(await services.values.get(actor, project, key))


@router.put("/projects/{project}/store/{key:path}", status_code=204)
async def set_value(project: str, key: str, new: StoredValue, services: TheServices, actor: TheActor) -> None:
    """Store a value; a published one stays published."""
    await services.values.set(actor, project, key, new.value)


@router.delete("/projects/{project}/store/{key:path}", status_code=204)
async def delete_value(project: str, key: str, services: TheServices, actor: TheActor) -> None:
    """Delete a value."""
    await services.values.delete(actor, project, key)


@router.put("/projects/{project}/published-values/{key:path}")
async def publish_value(
    project: str, key: str, what: Publication, services: TheServices, actor: TheActor
) -> documents.StoreValueDoc:
    """Let everybody read a value at its address, or not any more."""
    entry = await services.values.publish(actor, project, key, is_published=what.is_published)
    return documents.StoreValueDoc.model_validate(entry)
