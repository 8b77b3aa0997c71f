"""Parts of pages that stay true while they are looked at: server-sent events that carry HTML.

A stream says "something changed" by sending the part again, read anew from the database; the page morphs it
into place. So a lost notice costs a refresh at the next keepalive, never a truth. Without JavaScript the same
part stands in the page as it was when the page was loaded.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple

from starlette.responses import StreamingResponse

from ninelives_server.errors import NinelivesError, Unauthenticated
from ninelives_server.store.notices import Notice
from ninelives_server.web.guards import LOGIN_COOKIE
from ninelives_server.web.pages import View

#: A part is sent at most this often, however fast things change. seconds
PACE = 0.25
#: And looked at again at least this often; what has not changed is not sent. seconds
KEEPALIVE = 15.0
#: The page's element closes its stream at this event.
OVER = "event: over\ndata: over\n\n"


class Part(NamedTuple):
    """A rendered part; `is_over`: it will not change any more."""

    html: str
    is_over: bool = False


Render = Callable[[], Awaitable[Part]]
Channel = tuple[str, str | None]


def _message(html: str) -> str:
    """Return a message as the event stream format wants it (HTML Standard, section 9.2.6)."""
    return "".join(f"data: {line}\n" for line in html.splitlines()) + "\n"


async def _woken(notices: Sequence[Notice], stopping: asyncio.Event, seconds: float) -> bool:
    """Wait for a notice; tell whether the server still runs."""
    waits = [asyncio.ensure_future(event.wait()) for event in (*notices, stopping)]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return not stopping.is_set()


async def _paced(stopping: asyncio.Event) -> bool:
    """Let changes gather for a moment; tell whether the server still runs."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), PACE)
    return not stopping.is_set()


async def _still_here(view: View) -> None:
    """Raise where the login that the stream began with has ended.

    Raises:
        Unauthenticated: It has.
    """
    if view.visitor is None:
        return
    if await view.services.access.browser(view.request.cookies.get(LOGIN_COOKIE)) is None:
        raise Unauthenticated("this login has ended")


async def _parts(view: View, channels: Sequence[Channel], render: Render) -> AsyncIterator[str]:
    services = view.services
    with contextlib.ExitStack() as stack:
        told = services.store.notices
        notices = [stack.enter_context(told.subscribed(name, thing)) for name, thing in channels]
        last = ""
        while True:
            for notice in notices:
                notice.take()
            try:
                await _still_here(view)
                part = await render()
            except NinelivesError:  # gone, or the login ended: the page says so when it is loaded again
                yield OVER
                return
            if part.html != last:
                last = part.html
                yield _message(part.html)
            else:
                yield ": still here\n\n"
            if part.is_over:
                yield OVER
                return
            if not await _woken(notices, services.stopping, KEEPALIVE) or not await _paced(services.stopping):
                return


def stream(view: View, channels: Sequence[Channel], render: Render) -> StreamingResponse:
    """Answer with a stream of a part that is rendered again at each notice on these channels."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(_parts(view, channels, render), media_type="text/event-stream", headers=headers)
