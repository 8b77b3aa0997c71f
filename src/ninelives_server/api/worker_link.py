"""The worker link: one WebSocket per worker, and the HTTP routes for what is too large for it.

Only the transport is here; the dialogue is `sessions.link`. Workers carry a token with the scope `worker`,
which is good for nothing else. `server.py` puts a `WorkerDoors` at `app.state.worker_doors`.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, WebSocket
from fastapi.responses import Response, StreamingResponse
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketDisconnect

from ninelives.run import wire
from ninelives_server import log
from ninelives_server.api import worker_tokens
from ninelives_server.api.auth import bearer_of
from ninelives_server.errors import Forbidden, NinelivesError, Unauthenticated
from ninelives_server.model.actors import Actor
from ninelives_server.services import Services
from ninelives_server.sessions.link import Link
from ninelives_server.sessions.links import Links
from ninelives_server.sessions.transfer import Transfer

logger = log.get(__name__)
router = APIRouter(prefix="/api/v1/worker", tags=["worker"], include_in_schema=False)

_SCOPE = "worker"
#: WebSocket close codes of our own (RFC 6455, section 7.4.2).
_NOT_ALLOWED = 4403
_GOING_AWAY = 1001
_PROTOCOL = 1002


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDoors:
    """What the routes need beside the services.

    Attributes:
        temporal_address: Where workers find Temporal: `host:port`.
        temporal_secret: What the door of an embedded one asks for, which is on this machine only.
    """

    links: Links
    transfer: Transfer
    temporal_address: str
    temporal_namespace: str
    temporal_secret: str | None = field(default=None, repr=False)


def doors_of(connection: HTTPConnection) -> WorkerDoors:
    """Return what `server.py` has put at the application."""
    doors: WorkerDoors = connection.app.state.worker_doors
    return doors


async def _authenticate(connection: HTTPConnection) -> Actor:
    services: Services = connection.app.state.services
    token = bearer_of(connection.headers.get("authorization"))
    if token is None:
        raise Unauthenticated("a worker needs its token: --token-file or NINELIVES_TOKEN")
    actor = await services.access.authenticate(token)
    if _SCOPE not in actor.scopes:
        raise Forbidden("this token is not a worker's; make one with the scope 'worker'")
    return actor


async def worker_of(request: Request) -> Actor:
    """Return the worker that asks.

    Raises:
        Unauthenticated: There is no token, or it is not valid.
        Forbidden: The token is not a worker's.
    """
    return await _authenticate(request)


_WORKERS = [Depends(worker_of)]


async def _doors(request: Request) -> WorkerDoors:
    return doors_of(request)


TheDoors = Annotated[WorkerDoors, Depends(_doors)]


@router.websocket("/link")
async def link_route(socket: WebSocket) -> None:
    """Carry a worker's frames until either side hangs up."""
    try:
        await _authenticate(socket)
    except NinelivesError as error:
        await socket.close(_NOT_ALLOWED, str(error)[:120])
        return
    await socket.accept()
    links = doors_of(socket).links
    link = links.open()
    try:
        await _carry(socket, link)
    finally:
        await links.lost(link)


async def _carry(socket: WebSocket, link: Link) -> None:
    """Read, write and look at the token side by side; the first that ends, ends the others."""
    tasks = [asyncio.create_task(part(socket, link)) for part in (_read, _write, _look)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(error, Exception):
                logger.error("link.carrying_failed", worker_id=link.worker_id, exc_info=error)


async def _read(socket: WebSocket, link: Link) -> None:
    try:
        while True:
            link.receive(await socket.receive_bytes())
    except WebSocketDisconnect:
        return
    except (wire.BrokenFrame, KeyError, ValueError) as error:
        # KeyError: a text message, where bytes belong.
        logger.warning("link.broken_frame", worker_id=link.worker_id, error=str(error))
        with contextlib.suppress(RuntimeError):
            await socket.close(_PROTOCOL, "a frame cannot be read")


async def _write(socket: WebSocket, link: Link) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            if data := await link.outgoing():
                await socket.send_bytes(data)
            if link.is_closed:
                await socket.close(_GOING_AWAY)
                return


async def _look(socket: WebSocket, _link: Link) -> None:
    services: Services = socket.app.state.services
    await worker_tokens.refused(services.access, bearer_of(socket.headers.get("authorization")) or "")
    with contextlib.suppress(RuntimeError):  # it has hung up itself
        await socket.close(_NOT_ALLOWED, "this worker's token is not valid any more")


@router.get("/config", dependencies=_WORKERS)
async def config(request: Request, doors: TheDoors) -> dict[str, Any]:
    """Tell a worker how to take part."""
    services: Services = request.app.state.services
    return {
        "temporal_address": doors.temporal_address,
        "temporal_namespace": doors.temporal_namespace,
        "temporal_secret": doors.temporal_secret,
        "isolation_required": services.settings.worker.require_isolation,
        "blob_over": wire.BLOB_OVER,
        "value_limit": wire.VALUE_LIMIT,
    }


@router.get("/builds/{sha256}", dependencies=_WORKERS)
async def get_build(
    sha256: str,
    request: Request,
    doors: TheDoors,
    session_id: Annotated[str, Query(alias="session")],
) -> Response:
    """Return the code of a session that the worker runs, as a tar.gz; `sha256` is for its cache."""
    _ = sha256
    services: Services = request.app.state.services
    session = await doors.transfer.held(session_id)
    found = await services.projects.bundle_of(session.build_id)
    return Response(found, media_type="application/gzip")


@router.get("/sessions/{session_id}/journal", dependencies=_WORKERS)
async def get_journal(
    session_id: str,
    doors: TheDoors,
    epoch: Annotated[int, Query(ge=1)],
    after: Annotated[int, Query(ge=0)] = 0,
) -> StreamingResponse:
    """Return a session's journal as `past` frames, for its replay; `after` a `seq`, where one broke off."""
    session = await doors.transfer.held(session_id, epoch)
    pieces = doors.transfer.journal(session, after=after)
    return StreamingResponse(pieces, media_type="application/octet-stream")


@router.put("/blobs/{sha256}", status_code=204, dependencies=_WORKERS)
async def put_blob(
    sha256: str,
    request: Request,
    doors: TheDoors,
    session_id: Annotated[str, Query(alias="session")],
    epoch: Annotated[int, Query(ge=1)],
) -> Response:
    """Store a value that is too large for the link, ahead of its record."""
    session = await doors.transfer.held(session_id, epoch)
    await doors.transfer.put_blob(session, sha256, await request.body())
    return Response(status_code=204)


@router.get("/blobs/{sha256}", dependencies=_WORKERS)
async def get_blob(
    sha256: str,
    doors: TheDoors,
    session_id: Annotated[str, Query(alias="session")],
    epoch: Annotated[int, Query(ge=1)],
) -> Response:
    """Return such a value."""
    session = await doors.transfer.held(session_id, epoch)
    found = await doors.transfer.get_blob(session, sha256)
    return Response(found, media_type="application/octet-stream")
