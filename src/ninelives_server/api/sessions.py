"""Sessions and events over HTTP; their live streams are `watching`'s."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ninelives_server.api import bodies, documents
from ninelives_server.api.auth import TheActor, TheKey, TheServices
from ninelives_server.model.actors import Actor
from ninelives_server.model.sessions import SessionState
from ninelives_server.services import Services

router = APIRouter(prefix="/api/v1", tags=["sessions"])


class NewRun(bodies.Body):
    """A session without an event: `inputs` become `event.data`."""

    entrypoint: str = Field(examples=["main.py:hello"])
    inputs: dict[str, Any] = Field(default_factory=dict)
    is_durable: bool = False
    deployment_id: str | None = Field(
        default=None, description="instead of the active one, one that is testing"
    )


class Stop(bodies.Body):
    """How to stop: asked first, killed after `grace` seconds, or at once."""

    reason: str = ""
    kill: bool = False
    grace: float = Field(default=10.0, ge=0, le=3600, description="seconds")


class Fork(bodies.Body):
    """Where a fork leaves its session, and which build it runs."""

    from_step: int = Field(ge=1, description="`seq` of the first record that the new session does not have")
    build: str = Field(default="same", description="`same`, `newest`, or the id of a build")


class Redispatch(bodies.Body):
    """Where a stored event goes again; null is the active deployment."""

    deployment_id: str | None = None


class FilterQuestion(bodies.Body):
    """A CEL expression, and optionally what to try it on."""

    filter: str
    data: dict[str, Any] | None = None
    event_type: str = ""


class FilterAnswer(BaseModel):
    """Whether the filter is valid, and whether it matches the data where some was given."""

    error: str | None = None
    matches: bool | None = None


async def session_document(services: Services, actor: Actor, session_id: str) -> documents.SessionDoc:
    """Return a session's document, with its result or error."""
    detail = await services.sessions.get(actor, session_id)
    return documents.SessionDoc.of(
        detail.session, result=detail.result, error=detail.error, environment_log=detail.environment_log
    )


@router.post("/projects/{project}/sessions", status_code=201)
async def start_session(
    project: str, run: NewRun, services: TheServices, actor: TheActor, key: TheKey
) -> documents.SessionDoc:
    """Start a session of the active deployment without an event."""
    session = await services.events.start_session(
        actor,
        project,
        run.entrypoint,
        run.inputs,
        is_durable=run.is_durable,
        deployment_id=run.deployment_id,
        key=key,
    )
    return documents.SessionDoc.of(session)


@router.get("/sessions")
async def list_sessions(
    services: TheServices,
    actor: TheActor,
    project: Annotated[str | None, Query()] = None,
    state: Annotated[SessionState | None, Query()] = None,
    trigger_id: Annotated[str | None, Query()] = None,
    record_id: Annotated[str | None, Query()] = None,
    since: Annotated[documents.Moment | None, Query()] = None,
    until: Annotated[documents.Moment | None, Query()] = None,
    cursor: Annotated[str | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> documents.Page[documents.SessionDoc]:
    """List sessions, newest first."""
    page = await services.sessions.list(
        actor,
        project_ref=project,
        state=state,
        trigger_id=trigger_id,
        record_id=record_id,
        since=since,
        until=until,
        cursor=cursor,
        limit=limit,
    )
    return documents.Page(
        items=[documents.SessionDoc.of(session) for session in page.items], next_cursor=page.next_cursor
    )


@router.get("/sessions/{session_id}")
async def show_session(session_id: str, services: TheServices, actor: TheActor) -> documents.SessionDoc:
    """Show a session with its result or error."""
    return await session_document(services, actor, session_id)


@router.get("/sessions/{session_id}/steps")
async def list_steps(
    session_id: str,
    services: TheServices,
    actor: TheActor,
    after: Annotated[int, Query(ge=0, description="a `seq`")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> documents.Page[documents.StepDoc]:
    """List a session's steps, waits and values in the order of their commits."""
    found = await services.sessions.steps(actor, session_id, after=after, limit=limit)
    items = documents.many(documents.StepDoc, found)
    return documents.Page(items=items, next_cursor=str(items[-1].seq) if len(items) == limit else None)


@router.get("/sessions/{session_id}/logs")
async def list_prints(
    session_id: str,
    services: TheServices,
    actor: TheActor,
    after: Annotated[int, Query(ge=0, description="a `seq`")] = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> documents.Page[documents.PrintDoc]:
    """List what user code printed."""
    found = await services.sessions.prints(actor, session_id, after=after, limit=limit)
    items = documents.many(documents.PrintDoc, found)
    return documents.Page(items=items, next_cursor=str(items[-1].seq) if len(items) == limit else None)


@router.post("/sessions/{session_id}/stop")
async def stop_session(
    session_id: str, stop: Stop, services: TheServices, actor: TheActor
) -> documents.SessionDoc:
    """Ask a session to stop; kill it when the grace is over."""
    await services.sessions.stop(actor, session_id, reason=stop.reason, kill=stop.kill, grace=stop.grace)
    return await session_document(services, actor, session_id)


@router.post("/sessions/{session_id}/fork", status_code=201)
async def fork_session(
    session_id: str, fork: Fork, services: TheServices, actor: TheActor, key: TheKey
) -> documents.SessionDoc:
    """Make a session that has the records before a step of this one, and goes on from there."""
    made = await services.sessions.fork(
        actor, session_id, from_step=fork.from_step, build=fork.build, key=key
    )
    return documents.SessionDoc.of(made.session)


@router.get("/workers")
async def list_workers(services: TheServices, actor: TheActor) -> documents.Page[documents.WorkerDoc]:
    """List the workers that are there now, with their slots in use."""
    found = await services.sessions.workers(actor)
    return documents.Page(items=documents.many(documents.WorkerDoc, found))


@router.get("/events")
async def list_events(
    services: TheServices,
    actor: TheActor,
    project: Annotated[str, Query()],
    cursor: Annotated[str | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> documents.Page[documents.EventDoc]:
    """List a project's events, newest first."""
    page = await services.events.list(actor, project, cursor=cursor, limit=limit)
    return documents.Page(
        items=[documents.EventDoc.of(event) for event in page.items], next_cursor=page.next_cursor
    )


@router.post("/events/verify-filter")
async def verify_filter(question: FilterQuestion, services: TheServices, actor: TheActor) -> FilterAnswer:
    """Check a filter, and try it on data where some is given."""
    _ = actor
    error = services.filters.check(question.filter)
    if error is not None or question.data is None:
        return FilterAnswer(error=error)
    return FilterAnswer(matches=services.filters.matches(question.filter, question.data, question.event_type))


@router.get("/events/{event_id}")
async def show_event(event_id: str, services: TheServices, actor: TheActor) -> documents.EventDoc:
    """Show an event with its data and what became of it."""
    detail = await services.events.get(actor, event_id)
    return documents.EventDoc.of(detail.event, json.loads(json.dumps(detail.data)))


@router.post("/events/{event_id}/redispatch", status_code=201)
async def redispatch(
    event_id: str, where: Redispatch, services: TheServices, actor: TheActor, key: TheKey
) -> documents.EventDoc:
    """Dispatch a copy of a stored event again."""
    again = await services.events.redispatch(actor, event_id, deployment_id=where.deployment_id, key=key)
    return documents.EventDoc.of(again)
