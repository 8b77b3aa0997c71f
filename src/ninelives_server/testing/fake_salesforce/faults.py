"""Errors as Salesforce's APIs report them: raised anywhere inside the org, written out at its edges."""

from collections.abc import Sequence
from typing import Any


class RestError(Exception):
    """A refusal of the REST API: status, code, message and the fields that are to blame.

    Attributes:
        headers: Sent with the answer, such as `Allow`.
        body: Replaces the usual array of errors, as the list of a 300 does.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        fields: Sequence[str] | None = None,
        headers: dict[str, str] | None = None,
        body: Any = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.fields = None if fields is None else list(fields)
        self.headers = headers or {}
        self.body = body

    def as_list(self) -> Any:
        """Return the body of the answer: an array, with `fields` only where some are named."""
        if self.body is not None:
            return self.body
        error: dict[str, Any] = {"message": self.message, "errorCode": self.code}
        if self.fields is not None:
            error["fields"] = self.fields
        return [error]

    def as_save_error(self) -> dict[str, Any]:
        """Return the form that collections and composite results use inside `errors`."""
        return {"statusCode": self.code, "message": self.message, "fields": self.fields or []}


def not_found(message: str = "The requested resource does not exist") -> RestError:
    """Return the 404 of a thing that is not there."""
    return RestError(404, "NOT_FOUND", message)


class OAuthError(Exception):
    """A refusal of an OAuth endpoint, shown as `{"error", "error_description"}`."""

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status
