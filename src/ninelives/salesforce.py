"""Salesforce clients for workflow code: `simple_salesforce.Salesforce`, with a token that stays fresh.

The library is imported when a client is made; a project names it in its requirements. Making a client talks
to nobody, so it may be made at module level and simply comes back when the code runs again.
"""

import contextlib
import json
import threading
import weakref
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ninelives import connections, host
from ninelives.errors import ConnectionNotReady, MissingRequirement

#: Where nobody knows the instance yet; replaced before anything is sent.
_NOWHERE = "https://instance-not-known.invalid"
#: Refusals that look like an expired session and are a matter of policy: a new token is refused as well.
#: jsforce, lib/http-api.js, and Salesforce's "Status Codes and Error Responses".
_HOPELESS = ("This session is not valid for use with the REST API", "Connected app is not attached to Agent")
_CLIENT_ID = "client=ninelives"


def client(connection: str, **options: Any) -> Any:
    """Return a `simple_salesforce.Salesforce` for a connection of the project.

    Its access token is renewed when Salesforce says that it has expired, for as long as the session lives, in
    steps and in threads alike.

    Args:
        connection: The connection's name.
        options: Of `simple_salesforce.Salesforce`, such as `version`.

    Raises:
        MissingRequirement: simple-salesforce is not installed.
        ConnectionNotReady: The project has no such connection.
    """
    try:
        from simple_salesforce.api import Salesforce
    except ImportError as error:
        raise MissingRequirement(
            "ninelives.salesforce needs simple-salesforce; add the line simple-salesforce to requirements.txt"
        ) from error
    token = connections.token_in_hand(connection)
    session = host.running()
    if session is not None and connection not in session.connections and not token.value:
        raise ConnectionNotReady(
            f"this project has no connection {connection!r}; add it to the manifest, or run "
            f"`ninelives connection create PROJECT {connection} salesforce`"
        )
    made = Salesforce(instance_url=token.instance_url or _NOWHERE, session_id=token.value, **options)
    keep_fresh(made, connection)
    return made


def keep_fresh(made: Any, connection: str) -> None:
    """Have a client's HTTP session renew the client's token, whoever made the client."""
    renewer = _Renewer(made, connection)
    made.session.send = renewer.wrap(made.session.send)


class _Renewer:
    """Puts the newest token and instance into each request, and asks for another one on a 401."""

    def __init__(self, made: Any, connection: str) -> None:
        self._client = weakref.ref(made)
        self._connection = connection
        self._lock = threading.Lock()
        self._token: str = made.session_id
        self._host: str = made.sf_instance
        self._former = {self._host}

    def wrap(self, send: Any) -> Any:
        """Return a replacement for `requests.Session.send`."""

        def send_fresh(request: Any, **options: Any) -> Any:
            if not self._token or self._host in _NOWHERE:
                self._renew(None)
            used = self._dress(request)
            answer = send(request, **options)
            if not used or not _has_expired(answer):
                return answer
            answer.close()
            self._renew(used)
            _rewind(request)
            self._dress(request)
            return send(request, **options)

        return send_fresh

    def _dress(self, request: Any) -> str:
        """Put token and instance into a request; return the token, or nothing where it is not ours."""
        parts = urlsplit(request.url)
        if parts.netloc not in self._former:
            return ""
        headers = request.headers
        headers.setdefault("Sforce-Call-Options", _CLIENT_ID)
        request.url = urlunsplit(parts._replace(netloc=self._host))
        headers.pop("Host", None)
        token = self._token
        if "X-SFDC-Session" in headers:  # Bulk API 1.0
            headers["X-SFDC-Session"] = token
        elif "Authorization" in headers:
            headers["Authorization"] = f"Bearer {token}"
        else:
            return ""
        return token

    def _renew(self, refused: str | None) -> None:
        with self._lock:
            if refused is not None and refused != self._token:
                return  # another thread was quicker
            found = connections.renew(self._connection, refused)
            self._token = found.value
            if found.instance_url:
                self._host = urlsplit(found.instance_url).netloc
                self._former.add(self._host)
            self._tell_client()

    def _tell_client(self) -> None:
        """Keep the client's own attributes true, for code that reads them."""
        made = self._client()
        if made is None:
            return
        old = made.sf_instance
        made.session_id = self._token
        made.headers["Authorization"] = f"Bearer {self._token}"
        made.sf_instance = self._host
        for name, value in list(vars(made).items()):
            if name.endswith("_url") and isinstance(value, str):
                setattr(made, name, value.replace(f"https://{old}/", f"https://{self._host}/", 1))


def _has_expired(answer: Any) -> bool:
    """Tell whether a new token would help."""
    if answer.status_code not in {400, 401}:
        return False
    text = answer.text
    if any(words in text for words in _HOPELESS):
        return False
    if answer.status_code == 400:  # Bulk API 1.0
        return "InvalidSessionId" in text
    with contextlib.suppress(ValueError):
        said = json.loads(text)
        errors = said if isinstance(said, list) else [said]
        codes = {e.get("errorCode") or e.get("exceptionCode") for e in errors if isinstance(e, dict)}
        return bool(codes & {"INVALID_SESSION_ID", "InvalidSessionId"})
    return False


def _rewind(request: Any) -> None:
    """Have a body that is a file sent from its beginning again."""
    position = getattr(request, "_body_position", None)
    if isinstance(position, int) and hasattr(request.body, "seek"):
        request.body.seek(position)
