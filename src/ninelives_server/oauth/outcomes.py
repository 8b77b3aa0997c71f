"""How a conversation with a provider can end badly: four kinds, told apart strictly.

`transient` is only ever concluded from what cannot mean anything else (no answer, 5xx, 429, a body that is no
OAuth answer): to treat a dead grant as transient retries for ever, to treat a hiccup as a dead grant asks a
person to connect again for nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ninelives_server.oauth.messages import Answer


class Kind(StrEnum):
    """Who can do something about a refusal.

    `transient`: time; `needs_reauth`: the user who authorised; `needs_admin`: an administrator of the
    account; `refused`: whoever owns the app or made this request (wrong client id or secret, wrong callback).
    """

    TRANSIENT = "transient"
    NEEDS_REAUTH = "needs_reauth"
    NEEDS_ADMIN = "needs_admin"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A refusal in the provider's words; no secret is part of it.

    Attributes:
        error: The machine-readable name, such as `invalid_grant`; empty where there is none.
        description: The provider's sentence, at most 300 characters of printable text.
        status: Of HTTP; 0 where no answer came.
        answered: `False`: the provider may have acted on the request, and nobody knows.
    """

    kind: Kind
    error: str
    description: str
    status: int = 0
    answered: bool = True

    @property
    def words(self) -> str:
        """Name and sentence, for people."""
        return ": ".join(part for part in (self.error, self.description) if part)


#: RFC 6749, sections 4.1.2.1 and 5.2; RFC 7009, section 2.2.1.
_KINDS: Mapping[str, Kind] = {
    "invalid_grant": Kind.NEEDS_REAUTH,
    "access_denied": Kind.NEEDS_REAUTH,
    "invalid_client": Kind.REFUSED,
    "unauthorized_client": Kind.NEEDS_ADMIN,
    "invalid_scope": Kind.NEEDS_ADMIN,
    "unsupported_response_type": Kind.NEEDS_ADMIN,
    "unsupported_grant_type": Kind.NEEDS_ADMIN,
    "invalid_request": Kind.REFUSED,
    "unsupported_token_type": Kind.REFUSED,
    "server_error": Kind.TRANSIENT,
    "temporarily_unavailable": Kind.TRANSIENT,
    "slow_down": Kind.TRANSIENT,
}


def clean(text: object, limit: int = 300) -> str:
    """Return printable text of bounded length, for what a provider or a browser sent."""
    if not isinstance(text, str):
        return ""
    shown = "".join(c if c.isprintable() else " " for c in text)
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def kind_of(status: int, error: str) -> Kind:
    """Classify by the standard's error names; a 5xx or 429 is transient whatever its body says."""
    if status >= 500 or status == 429:
        return Kind.TRANSIENT
    return _KINDS.get(error, Kind.REFUSED if error else Kind.TRANSIENT)


def from_answer(answer: Answer) -> Refusal:
    """Read an error answer (RFC 6749, section 5.2), or the lack of one.

    A body that is no OAuth error (HTML of a proxy or a maintenance page) is transient: it does not come from
    the token endpoint.
    """
    if answer.failure:
        return Refusal(
            kind=Kind.TRANSIENT,
            error="",
            description=clean(answer.failure),
            answered=not answer.may_have_arrived,
        )
    document = answer.document()
    error = clean(document.get("error"), 80)
    description = clean(document.get("error_description"))
    if not error:
        description = f"HTTP {answer.status} without an OAuth answer"
    return Refusal(
        kind=kind_of(answer.status, error), error=error, description=description, status=answer.status
    )
