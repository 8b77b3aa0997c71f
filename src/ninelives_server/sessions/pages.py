"""Pages of a list, with cursors that say nothing to their reader."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ninelives_server.errors import Invalid
from ninelives_server.model.sessions import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some sessions, newest first.

    Attributes:
        next_cursor: Where the next page begins; `None` after the last one.
    """

    items: Sequence[Session]
    next_cursor: str | None


def cursor_after(session: Session) -> str:
    """Return the cursor of the page behind a session."""
    text = f"{session.created_at.isoformat()}|{session.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_of(cursor: str) -> tuple[datetime, str]:
    """Return where a cursor stands.

    Raises:
        Invalid: It is none of ours.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        at, _, session_id = base64.urlsafe_b64decode(padded).decode().partition("|")
        return datetime.fromisoformat(at).astimezone(UTC), session_id
    except (ValueError, binascii.Error):
        raise Invalid(f"the cursor {cursor[:40]!r} is not one of this list; leave it out") from None
