"""Deploys over HTTP: one document as the answer, or events before it while requirements are resolved.

Who accepts `text/event-stream` is told what the resolver says meanwhile; what is decided at once is answered
plainly all the same, with the status that it has.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from ninelives_server.api import bodies, documents, problems
from ninelives_server.api.auth import TheActor, TheServices
from ninelives_server.errors import DatabaseAway, NinelivesError, Transient
from ninelives_server.projects.requirements import Tell, unheard
from ninelives_server.services import Services

router = APIRouter(prefix="/api/v1", tags=["projects"])

_Work = Callable[[Tell], Coroutine[Any, Any, documents.DeployDoc]]
_STREAM = "text/event-stream"
#: A deploy that takes longer is answered with events. seconds
_AT_ONCE = 1.0
#: A stream says something at least this often, so that proxies keep it open. seconds
_KEEPALIVE = 15.0
_STREAMED = (
    "With `Accept: text/event-stream`, where it takes longer than a second: server-sent events `resolving` "
    '(`{"resolver_log"}`, all that the resolver has said so far), then one `deployed` (this document) or '
    "`problem`; not with an `Idempotency-Key`. Who hangs up before the end stops the deploy."
)


@router.post(
    "/deploys",
    response_model=documents.DeployDoc,
    responses={200: {"description": _STREAMED, "content": {_STREAM: {"schema": {"type": "string"}}}}},
)
async def deploy(
    request: Request,
    services: TheServices,
    actor: TheActor,
    project: Annotated[str | None, Query(description="overrides the manifest's name")] = None,
    dry_run: Annotated[bool, Query()] = False,
    check: Annotated[
        bool, Query(description="change nothing; try the journals of running sessions on it")
    ] = False,
) -> Response:
    """Deploy a directory, sent as a gzipped tar: build, apply the manifest, activate."""
    bundle = await bodies.limited(request, bodies.BUNDLE_LIMIT, "a bundle")

    async def work(tell: Tell) -> documents.DeployDoc:
        result = await services.projects.deploy(
            actor, bundle=bundle, project=project, dry_run=dry_run or check, tell=tell
        )
        document = documents.DeployDoc.model_validate(result)
        if check:
            candidate = await services.projects.candidate(actor, bundle=bundle, project=project, tell=tell)
            report = await services.checks.run(actor, candidate)
            document.check = documents.JournalCheckDoc.model_validate(report)
        return document

    # With an `Idempotency-Key` the answer is kept and given again: one document.
    if _STREAM in request.headers.get("accept", "") and "idempotency-key" not in request.headers:
        return await _streamed(request, services, work)
    return _answer(await work(unheard))


async def _streamed(request: Request, services: Services, work: _Work) -> Response:
    said = _Said()
    task = asyncio.create_task(work(said.tell))
    try:
        done, _ = await asyncio.wait({task}, timeout=_AT_ONCE)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if done:
        return _answer(task.result())
    return StreamingResponse(_events(request, services, task, said), media_type=_STREAM)


class _Said:
    """What the resolver has said, for one who listens."""

    def __init__(self) -> None:
        self.text = ""
        self.news = asyncio.Event()

    def tell(self, text: str) -> None:
        self.text = text
        self.news.set()


async def _events(
    request: Request, services: Services, task: asyncio.Task[documents.DeployDoc], said: _Said
) -> AsyncIterator[str]:
    """Yield what is said until the deploy is done, then how it ended."""
    try:
        while not task.done() and not services.stopping.is_set():
            yield _event("resolving", {"resolver_log": said.text}) if said.news.is_set() else ": at it\n\n"
            said.news.clear()
            await _any(task, said.news, services.stopping)
        if said.news.is_set():
            yield _event("resolving", {"resolver_log": said.text})
        yield _end(request, task)
    finally:
        task.cancel()


def _end(request: Request, task: asyncio.Task[documents.DeployDoc]) -> str:
    try:
        if not task.done():
            raise Transient("the server stops; nothing was deployed, try again in a moment")
        return _event("deployed", task.result().model_dump(mode="json"))
    except (NinelivesError, DatabaseAway) as error:
        return f"event: problem\ndata: {bytes(problems.of(error, request).body).decode()}\n\n"


async def _any(task: asyncio.Task[documents.DeployDoc], news: asyncio.Event, stopping: asyncio.Event) -> None:
    """Wait until there is something to say."""
    waits = [asyncio.ensure_future(event.wait()) for event in (news, stopping)]
    try:
        await asyncio.wait({task, *waits}, timeout=_KEEPALIVE, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _answer(document: documents.DeployDoc) -> Response:
    return JSONResponse(document.model_dump(mode="json"))
