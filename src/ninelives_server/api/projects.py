"""Projects, variables, builds, deployments and triggers over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from ninelives_server.api import bodies, documents
from ninelives_server.api.auth import TheActor, TheServices
from ninelives_server.model.triggers import Overlap
from ninelives_server.projects.trigger_limits import TriggerLimits

router = APIRouter(prefix="/api/v1", tags=["projects"])

ProjectQuery = Annotated[str, Query(description="id or name of a project")]


class NewProject(bodies.Body):
    """A project made by hand: a name, no code."""

    name: str = Field(examples=["lead_router"])


class Retention(bodies.Body):
    """Days that things are kept; 0 is for ever, null leaves it as it is."""

    sessions: int | None = Field(default=None, ge=0)
    events: int | None = Field(default=None, ge=0)
    logs: int | None = Field(default=None, ge=0)


class Concurrency(bodies.Body):
    """How many sessions may be open at once; 0 is any number."""

    max_concurrent: int = Field(ge=0, le=100_000)


class NewValue(bodies.Body):
    """A variable's value."""

    value: str = Field(repr=False)
    is_secret: bool = False
    description: str = ""


class Limits(bodies.Body):
    """A trigger's limits; what is left out, or null, stays as it is."""

    max_concurrent: int | None = Field(default=None, ge=0, le=100_000, description="0 is any number")
    key: str | None = Field(default=None, description="CEL; of equal values one at a time; empty is none")
    overlap: Overlap | None = None


@router.get("/projects")
async def list_projects(services: TheServices, actor: TheActor) -> documents.Page[documents.ProjectDoc]:
    """List the projects that you may see."""
    found = await services.projects.list(actor)
    return documents.Page(items=documents.many(documents.ProjectDoc, found))


@router.post("/projects", status_code=201)
async def create_project(new: NewProject, services: TheServices, actor: TheActor) -> documents.ProjectDoc:
    """Create a project by hand."""
    return documents.ProjectDoc.model_validate(await services.projects.create(actor, new.name))


@router.post("/lints")
async def lint(
    request: Request,
    services: TheServices,
    actor: TheActor,
    project: Annotated[str | None, Query(description="overrides the manifest's name")] = None,
) -> documents.Page[documents.FindingDoc]:
    """Check a directory, sent as a gzipped tar, as a deploy would; nothing is changed."""
    bundle = await bodies.limited(request, bodies.BUNDLE_LIMIT, "a bundle")
    found = await services.projects.lint(actor, bundle=bundle, project=project)
    return documents.Page(items=documents.many(documents.FindingDoc, found))


@router.get(
    "/projects/{project}/export",
    response_class=Response,
    responses={200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def export_project(project: str, services: TheServices, actor: TheActor) -> Response:
    """Return a project's code and a manifest of what it has now, as a zip; no secret is part of it."""
    name, packed = await services.projects.export(actor, project)
    headers = {"Content-Disposition": f'attachment; filename="{name}.zip"'}
    return Response(packed, media_type="application/zip", headers=headers)


@router.get("/projects/{project}")
async def show_project(project: str, services: TheServices, actor: TheActor) -> documents.ProjectDoc:
    """Show a project."""
    return documents.ProjectDoc.model_validate(await services.projects.get(actor, project))


@router.delete("/projects/{project}", status_code=204)
async def delete_project(project: str, services: TheServices, actor: TheActor) -> None:
    """Delete a project, everything in it and its data key."""
    await services.projects.delete(actor, project)


@router.put("/projects/{project}/retention")
async def set_retention(
    project: str, days: Retention, services: TheServices, actor: TheActor
) -> documents.ProjectDoc:
    """Say for how many days finished sessions, events and logs are kept."""
    changed = await services.projects.set_retention(
        actor, project, sessions=days.sessions, events=days.events, logs=days.logs
    )
    return documents.ProjectDoc.model_validate(changed)


@router.put("/projects/{project}/concurrency")
async def set_concurrency(
    project: str, limit: Concurrency, services: TheServices, actor: TheActor
) -> documents.ProjectDoc:
    """Say how many sessions of the project may be open at once; what comes in then queues up."""
    changed = await services.projects.set_max_concurrent(actor, project, limit.max_concurrent)
    return documents.ProjectDoc.model_validate(changed)


@router.get("/projects/{project}/variables")
async def list_variables(
    project: str, services: TheServices, actor: TheActor
) -> documents.Page[documents.VariableDoc]:
    """List a project's variables; values of secrets are never shown."""
    found = await services.projects.variables(actor, project)
    return documents.Page(items=documents.many(documents.VariableDoc, found))


@router.put("/projects/{project}/variables/{name}", status_code=204)
async def set_variable(
    project: str, name: str, new: NewValue, services: TheServices, actor: TheActor
) -> None:
    """Set a variable."""
    await services.projects.set_variable(
        actor, project, name, new.value, is_secret=new.is_secret, description=new.description
    )


@router.delete("/projects/{project}/variables/{name}", status_code=204)
async def delete_variable(project: str, name: str, services: TheServices, actor: TheActor) -> None:
    """Delete a variable."""
    await services.projects.delete_variable(actor, project, name)


@router.get("/projects/{project}/builds")
async def list_builds(
    project: str, services: TheServices, actor: TheActor
) -> documents.Page[documents.BuildDoc]:
    """List a project's builds, newest first."""
    return documents.Page(
        items=documents.many(documents.BuildDoc, await services.projects.builds(actor, project))
    )


@router.get("/builds/{build_id}")
async def show_build(build_id: str, services: TheServices, actor: TheActor) -> documents.BuildDoc:
    """Show a build, and how its environment was made."""
    build = await services.projects.build(actor, build_id)
    return documents.BuildDoc.of(build, await services.projects.environment_logs(actor, build_id))


@router.get("/projects/{project}/deployments")
async def list_deployments(
    project: str, services: TheServices, actor: TheActor
) -> documents.Page[documents.DeploymentDoc]:
    """List a project's deployments, newest first."""
    found = await services.projects.deployments(actor, project)
    return documents.Page(items=documents.many(documents.DeploymentDoc, found))


@router.post("/deployments/{deployment_id}/activate")
async def activate(deployment_id: str, services: TheServices, actor: TheActor) -> documents.DeploymentDoc:
    """Give new sessions to this deployment; the one before drains."""
    return documents.DeploymentDoc.model_validate(await services.projects.activate(actor, deployment_id))


@router.post("/deployments/{deployment_id}/test")
async def test(deployment_id: str, services: TheServices, actor: TheActor) -> documents.DeploymentDoc:
    """Let a deployment take the sessions and events that name it, and no others."""
    return documents.DeploymentDoc.model_validate(await services.projects.test(actor, deployment_id))


@router.post("/deployments/{deployment_id}/deactivate")
async def deactivate(deployment_id: str, services: TheServices, actor: TheActor) -> documents.DeploymentDoc:
    """Give no new sessions to this deployment."""
    changed = await services.projects.deactivate(actor, deployment_id)
    return documents.DeploymentDoc.model_validate(changed)


@router.delete("/deployments/{deployment_id}", status_code=204)
async def delete_deployment(deployment_id: str, services: TheServices, actor: TheActor) -> None:
    """Delete a deployment that is inactive."""
    await services.projects.delete_deployment(actor, deployment_id)


@router.get("/projects/{project}/triggers")
async def list_triggers(
    project: str, services: TheServices, actor: TheActor
) -> documents.Page[documents.TriggerDoc]:
    """List a project's triggers and how they fare."""
    found = await services.projects.triggers(actor, project)
    return documents.Page(
        items=[
            documents.TriggerDoc.of(trigger, await services.events.trigger_status(actor, trigger))
            for trigger in found
        ]
    )


@router.get("/triggers/{trigger_id}")
async def show_trigger(trigger_id: str, services: TheServices, actor: TheActor) -> documents.TriggerDoc:
    """Show a trigger: its address, its next time, its last error, what it listens to."""
    trigger = await services.projects.trigger(actor, trigger_id)
    return documents.TriggerDoc.of(trigger, await services.events.trigger_status(actor, trigger))


@router.patch("/triggers/{trigger_id}/limits")
async def limit_trigger(
    trigger_id: str, limits: Limits, services: TheServices, actor: TheActor
) -> documents.TriggerDoc:
    """Change a trigger's limits until the next deploy, which makes it what the manifest says."""
    wanted = TriggerLimits(max_concurrent=limits.max_concurrent, key=limits.key, overlap=limits.overlap)
    trigger = await services.projects.limit_trigger(actor, trigger_id, wanted)
    return documents.TriggerDoc.of(trigger, await services.events.trigger_status(actor, trigger))
