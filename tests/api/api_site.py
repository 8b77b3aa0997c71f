"""A real server without a worker, people of two orgs, and a project with one of everything."""

import asyncio
import io
import itertools
import secrets
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from ninelives_server.access.secrets import hash_secret, new_token
from ninelives_server.model.actors import Role
from ninelives_server.store import access, core
from ninelives_server.testing.running import Up, until

MANIFEST = """\
version: v1
project:
  name: {name}
  vars:
    - {{name: CHANNEL, value: "#sales"}}
  connections:
    - {{name: crm, integration: salesforce}}
  triggers:
    - {{name: hook, type: webhook, call: main.py:on_open}}
    - {{name: nightly, schedule: "0 3 * * *", call: main.py:on_open}}
"""
MAIN = "def on_open(event):\n    pass\n"
#: What the owner of the first org typed as the secret of an app; no answer may ever hold it.
APP_SECRET = "shh-" + secrets.token_hex(8)

_numbers = itertools.count(1)


def a_name(kind: str = "project") -> str:
    """Return a name that no other test uses."""
    return f"{kind}_{next(_numbers)}_{secrets.token_hex(3)}"


def a_bundle(name: str, *, main: str = MAIN, manifest: str = MANIFEST, requirements: str = "") -> bytes:
    """Pack a project with a connection, a variable, a webhook and a schedule."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        files = {"ninelives.yaml": manifest.format(name=name), "main.py": main}
        if requirements:
            files["requirements.txt"] = requirements
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


@dataclass(kw_only=True)
class Things:
    """One of everything in one project, by the names that the API's paths have for them."""

    project: str
    project_name: str
    name: str = "CHANNEL"
    key: str = "greetings/de"
    build_id: str
    deployment_id: str
    connection_id: str
    trigger_id: str
    event_id: str
    session_id: str
    flow_id: str
    token_id: str
    webhook_url: str

    def path(self, template: str, **other: str) -> str:
        """Fill a path of the OpenAPI document."""
        return template.format_map({**self.__dict__, **other})


@dataclass(kw_only=True)
class Site:
    """The server and those who ask it.

    Attributes:
        tokens: By name: `admin`, `member`, `viewer`, `reader` (of the admin, to read only) and `worker` of the first
            org; `stranger` is the administrator of another one.
    """

    up: Up
    tokens: dict[str, str]
    cookies: dict[str, str]
    user_ids: dict[str, str]
    http: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=60, trust_env=False))

    def ask(
        self, method: str, path: str, *, who: str | None = "admin", api: bool = True, **options: Any
    ) -> httpx2.Response:
        """Send a request with somebody's token; `who=None` sends none."""
        headers = dict(options.pop("headers", {}))
        if who is not None:
            headers.setdefault("Authorization", f"Bearer {self.tokens[who]}")
        prefix = "/api/v1" if api and not path.startswith("/api/") else ""
        return self.http.request(method, f"{self.up.url}{prefix}{path}", headers=headers, **options)

    def look(
        self, path: str, *, who: str | None = "admin", method: str = "GET", **options: Any
    ) -> httpx2.Response:
        """Open a page in somebody's browser."""
        headers = {"Accept": "text/html", **options.pop("headers", {})}
        if who is not None:
            headers["Cookie"] = f"ninelives_session={self.cookies[who]}"
        answer = self.http.request(method, f"{self.up.url}{path}", headers=headers, **options)
        self.http.cookies.clear()  # each look is a browser of its own
        return answer

    def get(self, path: str, *, who: str = "admin", **options: Any) -> Any:
        """Return a document."""
        return self.good(self.ask("GET", path, who=who, **options))

    @staticmethod
    def good(answer: httpx2.Response) -> Any:
        """Return an answer's JSON where it succeeded."""
        assert answer.is_success, f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def deployed(self, name: str | None = None, who: str = "admin") -> str:
        """Deploy a project and return its id."""
        done = self.ask("POST", "/deploys", who=who, content=a_bundle(name or a_name()))
        return str(self.good(done)["project_id"])

    def things(self, name: str | None = None) -> Things:
        """Make a project with one of everything."""
        name = name or a_name()
        project = self.deployed(name)
        deployment = self.get(f"/projects/{project}/deployments")["items"][0]
        connection = self.get("/connections", params={"project": project})["items"][0]
        edit = {"settings": {"client_id": "3MVG9"}, "secrets": {"client_secret": APP_SECRET}}
        self.good(self.ask("PATCH", f"/connections/{connection['id']}", json=edit))
        flow = self.good(self.ask("POST", f"/connections/{connection['id']}/authorise"))
        hook = next(t for t in self.get(f"/projects/{project}/triggers")["items"] if t["name"] == "hook")
        event = self.good(self.http.post(hook["webhook_url"], json={"x": 1}))["event_id"]
        session = until("the webhook's session", lambda: self._session_of(project, hook["id"]))
        made = self.good(self.ask("POST", "/tokens", json={"name": a_name("token")}))
        self.ask("PUT", f"/projects/{project}/store/{Things.key}", json={"value": "Hallo"}).raise_for_status()
        return Things(
            project=project,
            project_name=name,
            build_id=deployment["build_id"],
            deployment_id=deployment["id"],
            connection_id=connection["id"],
            trigger_id=hook["id"],
            event_id=event,
            session_id=session["id"],
            flow_id=flow["flow_id"],
            token_id=made["id"],
            webhook_url=hook["webhook_url"],
        )

    def _session_of(self, project: str, trigger_id: str) -> Any:
        found = self.get("/sessions", params={"project": project, "trigger_id": trigger_id})["items"]
        return found[0] if found else None

    def operations(self) -> list[tuple[str, str]]:
        """Return method and path of all that the server's own OpenAPI document has."""
        paths = self.http.get(f"{self.up.url}/openapi.json").json()["paths"]
        return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def _add_people(tx: core.Tx, made: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Add the people that no API can make yet: another org, and tokens for others than oneself."""
    first = access.first_admin(tx)
    assert first is not None
    org, admin = first
    other = access.insert_org(tx, "other")
    users = {
        "admin": (org, admin.id),
        "member": (org, access.insert_user(tx, "mem").id),
        "viewer": (org, access.insert_user(tx, "vera").id),
        "stranger": (other, access.insert_user(tx, "stan").id),
    }
    access.insert_member(tx, org, users["member"][1], Role.MEMBER)
    access.insert_member(tx, org, users["viewer"][1], Role.VIEWER)
    access.insert_member(tx, other, users["stranger"][1], Role.ADMIN)
    for who, (token, cookie) in made.items():
        org_id, user_id = users.get(who, users["admin"])
        scopes = {"reader": ("read",), "worker": ("worker",)}.get(who, ("all",))
        secrets_of = [("worker" if who == "worker" else "api", token)]
        if who in users:
            secrets_of.append(("browser", cookie))
        for kind, secret in secrets_of:
            new = access.NewToken(
                user_id=user_id,
                org_id=org_id,
                kind=kind,
                hash=hash_secret(secret),
                name=who,
                scopes=scopes,
                created_by=user_id,
            )
            access.insert_token(tx, new)
    return {who: user_id for who, (_, user_id) in users.items()}


async def _people(database: Path) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    names = ("admin", "member", "viewer", "reader", "worker", "stranger")
    made = {name: (new_token(), new_token()) for name in names}
    async with core.opened(None, database) as store:
        return made, await store.write(lambda tx: _add_people(tx, made))


@contextmanager
def site_on(data_dir: Path, *arguments: str, **env: str) -> Iterator[Site]:
    """Run a server and introduce everybody."""
    up = Up(data_dir, env=env, arguments=("--no-worker", *arguments))
    try:
        up.start()
        made, user_ids = asyncio.run(_people(data_dir / "private" / "ninelives.db"))
        site = Site(
            up=up,
            tokens={who: token for who, (token, _) in made.items()},
            cookies={who: cookie for who, (_, cookie) in made.items()},
            user_ids=user_ids,
        )
        with site.http:
            yield site
    finally:
        up.stop()
