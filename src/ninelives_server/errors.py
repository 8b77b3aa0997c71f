"""The exception hierarchy, split by who can act.

NinelivesError
├── CallerError                 the caller of an API, page or command (4xx)
│   ├── Invalid                 a value is wrong; names it and the way out (422)
│   │   └── KeyReused           an `Idempotency-Key` came before with another body
│   ├── NotFound                no such thing, or not yours (404)
│   ├── Forbidden               the actor's role or token does not allow it (403)
│   ├── Unauthenticated         no credential, or one that is not valid (401)
│   ├── Conflict                the thing's state does not allow it (409)
│   └── TooLarge                over a limit (413)
├── OwnerError                  the owner of an account
│   ├── NeedsReauth             the user must authorise again
│   └── NeedsAdmin              an administrator of the account must change something
├── ProviderError               the provider answered something that we cannot use (502)
│   └── Transient               the provider or the network failed for now; try again later (503)
└── SetupError                  whoever runs the server: settings, disk, ports, keys

DatabaseAway                    nobody: our own database is away for now (503); what handles errors of ours
                                must not take it for an answer, so it stands beside them

Anything else is a defect of ours. `str(error)` is safe to show to anyone: no secret enters a message.
"""

from collections.abc import Mapping


class NinelivesError(Exception):
    """Root of the errors that we raise on purpose.

    Attributes:
        code: A stable, documented name for programs (the `code` member of problem+json).
        fields: Messages per input field, for forms; empty where none is to blame.
    """

    code = "internal"

    def __init__(
        self, message: str, *, code: str | None = None, fields: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.fields: dict[str, str] = dict(fields or {})


class CallerError(NinelivesError):
    """The caller can put it right."""

    code = "bad_request"


class Invalid(CallerError):
    """A value is not acceptable."""

    code = "invalid"


class KeyReused(Invalid):
    """An `Idempotency-Key` came before with another body."""

    code = "idempotency_key_reused"

    def __init__(
        self, message: str = "this Idempotency-Key came before with another body; use a new key"
    ) -> None:
        super().__init__(message)


class NotFound(CallerError):
    """There is no such thing, or it is not visible to the actor."""

    code = "not_found"


class Forbidden(CallerError):
    """The actor is known and may not do this."""

    code = "forbidden"


class Unauthenticated(CallerError):
    """There is no valid credential."""

    code = "unauthenticated"


class Conflict(CallerError):
    """The state of the thing does not allow it."""

    code = "conflict"


class TooLarge(CallerError):
    """The input is over a limit."""

    code = "too_large"


class OwnerError(NinelivesError):
    """The owner of an account can put it right."""

    code = "owner"


class NeedsReauth(OwnerError):
    """The user must authorise the connection again."""

    code = "needs_reauth"


class NeedsAdmin(OwnerError):
    """An administrator of the account must change something there."""

    code = "needs_admin"


class ProviderError(NinelivesError):
    """The provider answered something that cannot be used."""

    code = "provider"


class Transient(ProviderError):
    """It failed for now; the same call may succeed later."""

    code = "transient"


class SetupError(NinelivesError):
    """Whoever runs the server can put it right."""

    code = "setup"


class DatabaseAway(Exception):
    """Our own database does not answer for now; the same request may succeed in a moment."""

    code = "database_away"
