"""Reading request bodies: none larger than a limit, none with a field that we do not know."""

import json

from fastapi import Request
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from ninelives_server.errors import TooLarge

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
            json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError as error:
            half = ascii(error.object[error.start])
            raise PydanticCustomError("no_text", f"{half} is half of a surrogate pair, and no text") from None
        except ValueError:
            raise PydanticCustomError("no_number", "NaN and Infinity are no JSON") from None
        except TypeError:
            pass  # not from JSON: a model that was made already
        return data


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
