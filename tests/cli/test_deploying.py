"""`deploy` while its requirements are resolved: what is said meanwhile, and how it ends; also the API's stream."""

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from api_site import Site, a_bundle, a_name, site_on
from slow_index import Index, slow_index
from terminal import Terminal

from ninelives_server.cli import following
from ninelives_server.testing.running import environment, until

pytestmark = [pytest.mark.system]


@pytest.fixture(scope="module")
def an_index() -> Iterator[Index]:
    """An index for the server of these tests."""
    with slow_index() as index:
        yield index


@pytest.fixture(scope="module")
def site(an_index: Index, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose uv asks that index and no other."""
    uv = {"UV_DEFAULT_INDEX": an_index.url, "UV_HTTP_RETRIES": "0", "UV_NO_CACHE": "1"}
    with site_on(tmp_path_factory.mktemp("deploying") / "data", **uv) as site:
        yield site


@pytest.fixture
def index(an_index: Index) -> Index:
    """The index, closed."""
    an_index.open.clear()
    return an_index


@pytest.fixture
def ninelives(site: Site, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Commands against that server."""
    return Terminal(monkeypatch).at(site)


def _project(name: str, requirements: str) -> bytes:
    return a_bundle(name, requirements=requirements)


def _directory(place: Path, requirements: str) -> str:
    with tarfile.open(fileobj=io.BytesIO(_project(a_name(), requirements))) as tar:
        tar.extractall(place, filter="data")
    return str(place)


def _deploying(site: Site, content: bytes) -> Any:
    headers = {"Authorization": f"Bearer {site.tokens['admin']}", "Accept": "text/event-stream"}
    url = f"{site.up.url}/api/v1/deploys"
    return site.http.stream("POST", url, content=content, headers=headers, timeout=120)


def _events(answer: httpx2.Response) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_what_the_resolver_says_is_told_while_it_works(site: Site, index: Index) -> None:
    """The index answers only when the line about its package has been seen: told at the end it never would."""
    seen = []
    with _deploying(site, _project(a_name(), "slowly")) as answer:
        for name, data in _events(answer):
            seen.append(name)
            if "/simple/slowly/" in str(data.get("resolver_log")):
                index.open.set()

    assert answer.status_code == 200
    assert (set(seen[:-1]), seen[-1]) == ({"resolving"}, "deployed")
    assert site.get(f"/builds/{data['build_id']}")["requirements"] == ["slowly==1.0"]


def test_what_cannot_be_resolved_ends_the_stream_with_a_problem(site: Site, index: Index) -> None:
    """The document is that of a plain answer: the status, a code, the resolver's words."""
    name = a_name()
    with _deploying(site, _project(name, "slowly>=2")) as answer:
        events = []
        for event in _events(answer):
            events.append(event)
            index.open.set()

    kind, data = events[-1]
    assert (kind, data["status"], data["code"]) == ("problem", 422, "invalid")
    assert data["detail"].startswith("requirements.txt cannot be resolved: error")
    assert "slowly>=2" in data["detail"]
    assert "DEBUG" not in data["detail"]
    assert site.ask("GET", f"/projects/{name}").status_code == 404


def test_what_is_wrong_at_once_has_the_status_of_a_plain_answer(site: Site) -> None:
    """No stream is begun for a bundle that cannot be read, nor for a caller who may not deploy."""
    with _deploying(site, b"no archive") as answer:
        answer.read()

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_who_hangs_up_stops_the_deploy(site: Site, index: Index) -> None:
    """An interrupted command leaves nothing behind that comes to its end later."""
    name = a_name()
    with _deploying(site, _project(name, "slowly")) as answer:
        next(_events(answer))
    index.open.set()

    site.deployed(name)

    assert len(site.get(f"/projects/{name}/builds")["items"]) == 1


def test_who_does_not_ask_for_events_gets_one_document(site: Site, index: Index) -> None:
    """Clients of the released API know nothing of events."""
    index.open.set()
    answer = site.ask("POST", "/deploys", content=_project(a_name(), "slowly"))

    assert answer.headers["content-type"] == "application/json"
    assert site.good(answer)["changed"] is True


def test_deploy_says_what_the_resolver_says_and_prints_one_document(
    ninelives: Terminal, index: Index, tmp_path: Path
) -> None:
    """Lines for people go to stderr, each once; programs read stdout."""
    index.slow_for(2)

    done = ninelives("deploy", _directory(tmp_path, "slowly"), "-o", "json")

    assert done.document["changed"] is True
    lines = done.err.splitlines()
    assert lines.count("  uv: Selecting: slowly==1.0 [compatible] (slowly-1.0-py3-none-any.whl)") == 1
    assert not [line for line in lines if "DEBUG" in line]


def test_of_what_uv_asks_for_the_last_alone_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A large set is thousands of requests; what is waited for, and what is chosen, is what people look for."""
    environment = following.Environment()
    chosen = "Selecting: a==1 [compatible] (a-1.whl)"

    environment.add(f"Searching for a\nSending GET /a\n{chosen}\n{chosen}\nSearching for b\nSending GET /b\n")

    assert capsys.readouterr().err.splitlines() == [f"  uv: {chosen}", "  uv: Sending GET /b"]


def test_deploy_fails_in_the_resolvers_words(ninelives: Terminal, index: Index, tmp_path: Path) -> None:
    """As without a stream: exit code 1, nothing on stdout, the error last on stderr."""
    index.slow_for(2)

    done = ninelives("deploy", _directory(tmp_path, "slowly>=2"), "-o", "json", code=1)

    assert done.out == ""
    assert "requirements.txt cannot be resolved: error" in done.err
    assert "slowly>=2" in done.err.splitlines()[-1]


def test_a_deploy_is_made_again_when_its_server_is_restarted(
    site: Site, index: Index, tmp_path: Path
) -> None:
    """To deploy the same twice changes nothing twice, so the command does it; the one document is the second's."""
    place = tmp_path / "project"
    place.mkdir()
    command = [sys.executable, "-m", "ninelives_server", "deploy", _directory(place, "slowly"), "-o", "json"]
    said, printed = tmp_path / "said", tmp_path / "printed"
    with said.open("w") as err, printed.open("w") as out:
        env = environment({"NINELIVES_DATA_DIR": str(site.up.data_dir)})
        process = subprocess.Popen(command, stdout=out, stderr=err, env=env)
    try:
        until("the resolver", lambda: "/simple/slowly/" in said.read_text())

        site.up.stop()
        site.up.start()
        index.open.set()
        code = process.wait(120)
    finally:
        process.kill()

    assert code == 0, said.read_text()
    assert json.loads(printed.read_text())["changed"] is True
    assert "trying again for 60 s" in said.read_text()
