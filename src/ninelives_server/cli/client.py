"""How commands talk to a server: HTTP with a token, errors as exit codes.

The address is `NINELIVES_SERVER_URL`, else the one in `DIR/server.json` (written by `up`); the token is
`NINELIVES_TOKEN`, else the admin token in `DIR/private/admin-token`.
"""

import json
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import click
import httpx2

from ninelives_server import settings as settings_module
from ninelives_server.errors import SetupError

FAILED = 1  # the thing itself failed
USAGE = 2
NO_SUCH_THING = 3
NO_SERVER = 4  # or not allowed


#: Fields of a refusal that were typed; `None`: all.
_Typed = frozenset[str] | None
#: Answers of a server or a proxy for a moment in which it cannot serve.
_FOR_NOW = {502, 503, 504}


class Stop(click.ClickException):
    """Ends a command with a message on stderr and an exit code."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it on the class

    def show(self, file: Any = None) -> None:
        """Print the message as it is; it says what to do."""
        click.echo(self.format_message(), err=True, file=file)


class Broken(Stop):
    """Nobody answers, or the answer was cut off: the same may go well in a moment."""


def fail(message: str, exit_code: int = FAILED) -> NoReturn:
    """End the command."""
    raise Stop(message, exit_code)


def segment(name: str) -> str:
    """Return a name as one segment of a path: whatever somebody types is looked up and leads nowhere else."""
    if not name.strip("."):
        fail(f"{name!r} is no name of anything", NO_SUCH_THING)
    if "/" in name:
        fail(f"nothing is called {name!r}: this takes an id, or the name of a project", NO_SUCH_THING)
    try:
        return quote(name, safe="")
    except UnicodeEncodeError:
        fail(f"{name[:100]!a} is no text in UTF-8", USAGE)


class Client:
    """One server, spoken to as one user."""

    def __init__(self, base_url: str, token: str, ca_file: Path | None = None) -> None:
        self.base_url = base_url
        context = ssl.create_default_context()
        if ca_file is not None:
            context.load_verify_locations(ca_file)
        self._http = httpx2.Client(
            base_url=f"{base_url}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=60.0,
            verify=context,
            trust_env=False,
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        content: bytes | None = None,
        params: Mapping[str, object] | None = None,
    ) -> Any:
        """Call the API and return the answer's JSON, or `None` for an empty one.

        Raises:
            Stop: The server is not there (4), does not allow it (4), has no such thing (3) or refuses: what
                was typed (2), or the files that it was sent as `content` (1).
        """
        query = {name: str(value) for name, value in (params or {}).items() if value is not None}
        answer = self._answer(method, path, json=body, content=content, params=query)
        return answer.json() if answer.content else None

    def download(self, path: str) -> bytes:
        """Return what is behind a path as it is.

        Raises:
            Stop: As for `call`.
        """
        return self._answer("GET", path).content

    def _answer(self, method: str, path: str, **more: Any) -> httpx2.Response:
        try:
            answer = self._http.request(method, path, **more)
        except httpx2.HTTPError as error:
            raise self._not_there(error) from None
        except UnicodeEncodeError as error:
            fail(f"{error.object[error.start : error.end]!a} is no text in UTF-8", USAGE)
        except ValueError as error:
            fail(f"that cannot be sent as JSON: {error}", USAGE)
        if not answer.is_success:
            _refused(answer, _typed(more))
        return answer

    def stream(self, path: str) -> Iterator[Any]:
        """Yield the JSON of each server-sent event of a stream, until it ends.

        Raises:
            Broken: The connection broke, or nothing came for a minute: a server speaks more often.
        """
        try:
            with self._http.stream("GET", path) as answer:
                if not answer.is_success:
                    answer.read()
                    _refused(answer)
                for _, data in _events(answer):
                    yield data
        except httpx2.HTTPError as error:
            raise self._broke(error) from None

    def deploy(self, content: bytes, *, params: Mapping[str, object], said: Callable[[str], None]) -> Any:
        """Deploy a bundle; `said` gets all that the resolver has said so far, again and again.

        Raises:
            Stop: As for `call`.
            Broken: The connection broke before the end, or the server stops. It may have been deployed all
                the same; to deploy it again is harmless.
        """
        query = {name: str(value) for name, value in params.items() if value is not None}
        headers = {"Accept": "text/event-stream, application/json"}
        try:
            with self._http.stream(
                "POST", "/deploys", content=content, params=query, headers=headers
            ) as answer:
                if answer.headers.get("content-type", "").startswith("text/event-stream"):
                    return _deployed(answer, said, _typed({"content": content, "params": query}))
                answer.read()
        except httpx2.ConnectError as error:
            raise self._not_there(error) from None
        except httpx2.HTTPError as error:
            raise self._broke(error) from None
        if not answer.is_success:
            _refused(answer, _typed({"content": content, "params": query}))
        return answer.json()

    def _not_there(self, error: httpx2.HTTPError) -> Broken:
        return Broken(
            f"no server answers at {self.base_url} ({error}); start one with `ninelives up` or set "
            "NINELIVES_SERVER_URL",
            NO_SERVER,
        )

    def _broke(self, error: httpx2.HTTPError) -> Broken:
        return Broken(f"the connection to {self.base_url} broke ({error or type(error).__name__})", NO_SERVER)

    def pages(
        self, path: str, params: Mapping[str, object] | None = None, *, by: str = "cursor"
    ) -> list[Any]:
        """Return all items of a list."""
        items: list[Any] = []
        query = dict(params or {})
        while True:
            page = self.call("GET", path, params=query)
            items += page["items"]
            if not page.get("next_cursor"):
                return items
            query[by] = page["next_cursor"]

    def connection_id(self, ref: str) -> str:
        """Return the id of a connection named by id or `PROJECT/NAME`."""
        return self._id_of(ref, "con_", "/connections", lambda project: {"project": project})

    def trigger_id(self, ref: str) -> str:
        """Return the id of a trigger named by id or `PROJECT/NAME`."""
        return self._id_of(ref, "trg_", None, lambda _project: {})

    def _id_of(self, ref: str, prefix: str, path: str | None, params: Any) -> str:
        if ref.startswith(prefix) and "/" not in ref:
            return segment(ref)
        project, slash, name = ref.partition("/")
        if not slash or not name:
            fail(f"{ref!r} is neither an id ({prefix}…) nor PROJECT/NAME", USAGE)
        found = self.pages(path or f"/projects/{segment(project)}/triggers", params(project))
        for thing in found:
            if thing["name"] == name:
                return str(thing["id"])
        names = ", ".join(sorted(thing["name"] for thing in found)) or "none"
        fail(f"project {project!r} has no {name!r}; it has: {names}", NO_SUCH_THING)


def _deployed(answer: httpx2.Response, said: Callable[[str], None], typed: _Typed) -> Any:
    """Return the document at the end of a deploy's events."""
    for name, data in _events(answer):
        if name == "deployed":
            return data
        if name == "problem":
            _refuse(data, data["status"], typed)
        said(data.get("resolver_log", ""))
    raise Broken("the server ended its answer before the deploy was done", NO_SERVER)


def _events(answer: httpx2.Response) -> Iterator[tuple[str, Any]]:
    """Yield name and data of the server-sent events that came whole: each ends with an empty line."""
    name = data = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data = line.removeprefix("data: ")
        elif not line and data:
            yield name, json.loads(data)
            name = data = ""


def _typed(request: Mapping[str, Any]) -> _Typed:
    """Return which fields of a refusal were typed: of a request with files only its parameters."""
    if request.get("content") is None:
        return None
    return frozenset({"name"}) if "project" in request["params"] else frozenset()


def _exit_code(status: int, fields: Iterable[str] = (), typed: _Typed = None) -> int:
    if status in {400, 422}:
        return USAGE if typed is None or typed.intersection(fields) else FAILED
    return {401: NO_SERVER, 403: NO_SERVER, 421: NO_SERVER, 404: NO_SUCH_THING}.get(status, FAILED)


def _refused(answer: httpx2.Response, typed: _Typed = None) -> NoReturn:
    try:
        problem = answer.json()
        problem = {"detail": answer.text, **problem}
    except (TypeError, ValueError):
        problem = {"detail": f"the server answered {answer.status_code}: {answer.text[:300]}"}
    _refuse(problem, answer.status_code, typed)


def _refuse(problem: Mapping[str, Any], status: int, typed: _Typed) -> NoReturn:
    detail, code = str(problem["detail"]), _exit_code(status, problem.get("fields") or (), typed)
    if status in _FOR_NOW:
        raise Broken(detail, code)
    fail(detail, code)


def connect(data_dir: Path | None = None) -> Client:
    """Find the server and the token, as the module says."""
    try:
        found = settings_module.load(data_dir=data_dir)
    except SetupError as error:
        fail(str(error), USAGE)
    url = found.server_url or _address(found.data_dir)
    token = found.token.get_secret_value() if found.token else _admin_token(found.private_dir)
    return Client(url, token, found.ca_file)


def _address(data_dir: Path) -> str:
    return settings_module.address_of(data_dir) or fail(
        f"no server runs on {data_dir}; start one with `ninelives up` or set NINELIVES_SERVER_URL", NO_SERVER
    )


def _admin_token(private_dir: Path) -> str:
    path = private_dir / "admin-token"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        fail(f"{path} cannot be read ({error.strerror}); set NINELIVES_TOKEN", NO_SERVER)
