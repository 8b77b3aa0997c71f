"""Hangs up on a worker whose token is revoked or has expired while its link is open.

The link's route looks at the token once, when the worker comes; this middleware looks again now and then. The
worker's sessions then go on elsewhere, as those of any worker that has lost its link.
"""

import asyncio
import functools

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ninelives_server import log, tasks
from ninelives_server.access.service import Access
from ninelives_server.api.auth import bearer_of
from ninelives_server.errors import DatabaseAway, NinelivesError
from ninelives_server.services import Services

logger = log.get(__name__)

#: Between two looks at the token of an open link. seconds
LOOK_EVERY = 5.0
_PATH = "/api/v1/worker/link"
#: As for a token that is refused at once (`api.worker_link`; RFC 6455, section 7.4.2).
_NOT_ALLOWED = 4403


class WorkerTokens:
    """Ends worker links that have outlived their token."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "websocket" or scope["path"] != _PATH:
            await self._app(scope, receive, send)
            return
        link = _Guarded(scope, send)
        async with tasks.kept("worker token", functools.partial(_watch, link)):
            await self._app(scope, receive, link.send)


class _Guarded:
    """A link that can be ended from here."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._is_over = False

    async def send(self, message: Message) -> None:
        """Pass a message on; nothing may follow the end."""
        if not self._is_over:
            await self._send(message)

    async def refused(self) -> None:
        """Wait until the token is not good any more."""
        connection = HTTPConnection(self._scope)
        services: Services = connection.app.state.services
        await refused(services.access, bearer_of(connection.headers.get("authorization")) or "")

    async def end(self) -> None:
        """Hang up; the route hears of it as of a worker that has gone."""
        self._is_over = True
        await self._send(
            {
                "type": "websocket.close",
                "code": _NOT_ALLOWED,
                "reason": "this worker's token is not valid any more",
            }
        )


async def _watch(link: _Guarded) -> None:
    await link.refused()
    await link.end()
    await asyncio.Event().wait()  # until the route has ended


async def refused(access: Access, token: str) -> None:
    """Wait until a worker's token is not good any more; a database that cannot say has changed nothing."""
    while True:
        await asyncio.sleep(LOOK_EVERY)
        try:
            await access.authenticate(token)
        except DatabaseAway:
            continue
        except NinelivesError:
            logger.warning("worker.token_refused")
            return
