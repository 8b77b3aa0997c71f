"""Sessions as they run, over HTTP: server-sent events until the session has ended.

A stream reads again at each notice and at least every 15 s, so that a lost notice costs a moment, never a
truth. It ends when the server stops; clients ask again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from ninelives_server.api import documents
from ninelives_server.api.auth import TheActor, TheServices
from ninelives_server.api.sessions import session_document

router = APIRouter(prefix="/api/v1", tags=["sessions"])

#: A stream says something at least this often, so that proxies keep it open. seconds
KEEPALIVE = 15
_STILL_HERE = ": still here\n\n"
#: Prints that are read at once.
_PAGE = 1000


@router.get("/sessions/{session_id}/watch")
async def watch_session(
    session_id: str, request: Request, services: TheServices, actor: TheActor
) -> StreamingResponse:
    """Stream the session's document at each change, as server-sent events, until it has ended."""
    first = await session_document(services, actor, session_id)

    async def changes() -> AsyncIterator[str]:
        told = services.store.notices
        with (
            told.subscribed("session", session_id) as session,
            told.subscribed("build", first.build_id) as build,
        ):
            last = ""
            while True:
                session.take()
                build.take()
                document = await session_document(services, actor, session_id)
                text = document.model_dump_json()
                yield _STILL_HERE if text == last else f"event: session\ndata: {text}\n\n"
                last = text
                if document.state.is_terminal:
                    return
                await _any((session, build, services.stopping))
                if services.stopping.is_set() or await request.is_disconnected():
                    return

    return StreamingResponse(changes(), media_type="text/event-stream")


@router.get("/sessions/{session_id}/logs/watch")
async def watch_prints(
    session_id: str,
    request: Request,
    services: TheServices,
    actor: TheActor,
    after: Annotated[int, Query(ge=0, description="a `seq`")] = 0,
) -> StreamingResponse:
    """Stream what user code prints, one server-sent event a print, until the session has ended."""
    await session_document(services, actor, session_id)

    async def prints() -> AsyncIterator[str]:
        seq = after
        with services.store.notices.subscribed("session", session_id) as notice:
            while True:
                notice.take()
                # The state first: what is read after the end is complete.
                document = await session_document(services, actor, session_id)
                yield _STILL_HERE
                while found := await services.sessions.prints(actor, session_id, after=seq, limit=_PAGE):
                    for item in documents.many(documents.PrintDoc, found):
                        yield f"event: print\ndata: {item.model_dump_json()}\n\n"
                    seq = found[-1].seq
                if document.state.is_terminal:
                    return
                await _any((notice, services.stopping))
                if services.stopping.is_set() or await request.is_disconnected():
                    return

    return StreamingResponse(prints(), media_type="text/event-stream")


async def _any(events: Sequence[asyncio.Event]) -> None:
    """Wait until one of these is set, or it is time for a sign of life."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=KEEPALIVE, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
