"""Reading request bodies: none larger than a limit, none with a field that we do not know."""

import asyncio
import contextlib
import json

from fastapi import HTTPException, Request
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ninelives import arguments
from ninelives_server.api import problems
from ninelives_server.errors import TooLarge
from ninelives_server.model.events import DEEPEST

#: A request's body is refused above this, where its route does not count itself. bytes
BODY_LIMIT = 16 * 1024 * 1024
#: A bundle is refused above this. bytes
BUNDLE_LIMIT = 64 * 1024 * 1024


class Body(BaseModel):
    """What a request says. A misspelt field is an error: left out silently, it would mean its default."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _can_be_said(cls, data: object) -> object:
        """Refuse what Python's JSON reads and no other: stored, it would break whatever shows it."""
        try:
            text = json.dumps(data, ensure_ascii=False, allow_nan=False)
            text.encode()
        except RecursionError:
            raise _too_deep() from None
        except UnicodeEncodeError as error:
            half = ascii(error.object[error.start])
            raise PydanticCustomError("no_text", f"{half} is half of a surrogate pair, and no text") from None
        except ValueError:
            raise PydanticCustomError("no_number", "NaN and Infinity are no JSON") from None
        except TypeError:
            return data  # not from JSON: a model that was made already
        if text.count("[") + text.count("{") > DEEPEST and arguments.depth(data) > DEEPEST:
            raise _too_deep()
        return data


def _too_deep() -> PydanticCustomError:
    return PydanticCustomError("too_deep", problems.TOO_DEEP)


class Bounded:
    """Refuses requests whose body is larger than any that there is: nobody fills the server's memory.

    What is refused is read to its end first, as far as that is bearable: whoever still sends when the
    connection is closed hears of that, and not of our answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith(_COUNT_THEMSELVES):
            await self._app(scope, receive, send)
            return
        bounded = _Bounded(receive)
        try:
            if _declared(scope) > BODY_LIMIT:
                await bounded.refuse()
            await self._app(scope, bounded, send)
        except _Over as over:  # before a route was reached; otherwise it has been answered already
            answer = problems.problem(413, TooLarge.code, over.detail, request=Request(scope))
            await answer(scope, receive, send)


#: Routes that take more and count it, and those of workers, which are ours.
_COUNT_THEMSELVES = ("/api/v1/deploys", "/api/v1/lints", "/api/v1/worker/")
#: How much of a body that is refused is read, and for how long. bytes, seconds
_BEARABLE = 4 * BODY_LIMIT
_BEARABLE_TIME = 5.0


class _Over(HTTPException):
    def __init__(self) -> None:
        super().__init__(413, f"the body of a request may have at most {BODY_LIMIT // 1024} KiB")


class _Bounded:
    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > BODY_LIMIT:
            await self.refuse(more=message.get("more_body", False))
        return message

    async def refuse(self, *, more: bool = True) -> None:
        """Read on, keeping nothing.

        Raises:
            HTTPException: In any case.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BEARABLE_TIME):
                while more and self._read < _BEARABLE:
                    message = await self._receive()
                    self._read += len(message.get("body", b""))
                    more = message.get("more_body", False)
        raise _Over


def _declared(scope: Scope) -> int:
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(declared) if declared.isdigit() else 0


async def limited(request: Request, limit_bytes: int, what: str) -> bytes:
    """Read the body of a request.

    Args:
        request: The request; its body is read as it arrives.
        limit_bytes: More than this is refused, before or while it is read.
        what: What the body is, for the message.

    Raises:
        TooLarge: The body is over the limit.
    """
    message = f"{what} may have at most {limit_bytes // 1024} KiB"
    # Not by `request.headers`, which makes an object of all of them: webhooks come here.
    declared = next((value for name, value in request.scope["headers"] if name == b"content-length"), b"")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise TooLarge(message)
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > limit_bytes:
            raise TooLarge(message)
    return bytes(parts)
