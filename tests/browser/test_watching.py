"""Watching sessions in a real browser: pages change by themselves while real sessions run."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from people import PATIENCE, Desk, Visit
from playwright.async_api import expect

expect.set_options(timeout=PATIENCE * 2)

MAIN = """\
import time
import urllib.request


def watched(event):
    print("before the gate")
    body = urllib.request.urlopen(event.data["gate"]).read()
    time.sleep(0.2)
    print("after the gate:", body.decode())
    return {"body": body.decode()}


def failing(event):
    print("about to fail")
    urllib.request.urlopen(event.data["gate"])
"""


class Gate:
    """An HTTP server whose answers wait until it is opened."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.opened = threading.Event()
        self.status = 200
        self.url = ""


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that is closed."""
    gate = Gate()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            gate.arrived.set()
            gate.opened.wait(120)
            with contextlib.suppress(OSError):  # a killed session does not wait for its answer
                self.send_response(gate.status)
                self.end_headers()
                self.wfile.write(b"open")

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    gate.url = f"http://127.0.0.1:{server.server_port}/"
    yield gate
    gate.opened.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def project(desk: Desk, tmp_path: Path) -> str:
    """A deployed project; its name."""
    name = f"watched_{tmp_path.name}".replace("-", "_")[:60]
    (tmp_path / "ninelives.yaml").write_text(f"version: v2\nproject:\n  name: {name}\n")
    (tmp_path / "main.py").write_text(MAIN)
    desk.up.cli("deploy", str(tmp_path))
    return name


async def start(visit: Visit, project: str, function: str, gate: Gate) -> None:
    """Run a function with the form; its session's page follows. Mark the page, so that a reload shows."""
    page = visit.page
    await visit.open(f"/projects/{project}")
    await page.get_by_role("link", name="Run…").click()
    await page.get_by_label("Entry point").fill(f"main.py:{function}")
    await page.get_by_label("Inputs").fill(f'{{"gate": "{gate.url}"}}')
    await page.get_by_role("button", name="Run", exact=True).click()
    await page.wait_for_url("**/sessions/ses_*")
    await page.evaluate("() => { window.notReloaded = true; }")


async def test_a_session_page_changes_without_a_reload(visit: Visit, desk: Desk, project: str, gate: Gate):
    """
    State, prints, steps and result arrive while the page is looked at, and an opened step stays open.
    """
    page = visit.page
    await start(visit, project, "watched", gate)
    state = page.locator(".title .pill")
    prints = page.get_by_role("log", name="Prints")
    await expect(prints).to_contain_text("before the gate")
    await expect(state).to_have_text("running")

    gate.opened.set()
    await expect(state).to_have_text("completed")
    await expect(prints).to_contain_text("after the gate: open")
    await expect(page.locator(".timeline")).to_contain_text("urlopen")
    await expect(page.locator(".timeline .wait")).to_contain_text("sleep")
    await expect(page.get_by_role("region", name="Result")).to_contain_text('"body": "open"')
    await expect(page.get_by_role("button", name="Run again")).to_be_visible()
    assert await page.evaluate("() => window.notReloaded")
    assert await visit.findings() == []


async def test_a_failing_session_shows_its_traceback_and_step(
    visit: Visit, desk: Desk, project: str, gate: Gate
):
    """
    The error stands on top, with the user's traceback and a link to the step that failed.
    """
    page = visit.page
    gate.status = 503
    await start(visit, project, "failing", gate)
    gate.opened.set()

    await expect(page.locator(".title .pill")).to_have_text("error")
    banner = page.locator(".flash.error")
    await expect(banner).to_contain_text("HTTPError")
    await expect(banner.get_by_label("Traceback")).to_contain_text("main.py")
    await expect(banner.get_by_label("Traceback")).to_contain_text('urlopen(event.data["gate"])')
    await expect(page.locator(".timeline .failed")).to_contain_text("urlopen")
    assert await page.evaluate("() => window.notReloaded")
    assert await visit.findings() == []


async def test_a_running_session_is_stopped(visit: Visit, desk: Desk, project: str, gate: Gate):
    """
    Stop asks; a step that hangs is killed with Kill, and the page says stopped.
    """
    page = visit.page
    await start(visit, project, "watched", gate)
    await expect(page.get_by_role("log", name="Prints")).to_contain_text("before the gate")
    await page.get_by_role("button", name="Stop").click()
    await page.get_by_role("button", name="Kill").click()

    await expect(page.locator(".title .pill")).to_have_text("stopped")


async def test_new_sessions_appear_in_lists(visit: Visit, desk: Desk, project: str, gate: Gate):
    """
    In the list of the project, while it is looked at, and with the state that they have come to.
    """
    gate.opened.set()
    page = visit.page
    await visit.open(f"/projects/{project}/sessions")
    await expect(page.get_by_text("No sessions yet")).to_be_visible()
    body = {"entrypoint": "main.py:watched", "inputs": {"gate": gate.url}, "is_durable": True}
    made = desk.up.call("POST", f"/projects/{project}/sessions", json=body)

    row = page.locator(f"#row-{made['id']}")
    await expect(row).to_be_visible()
    await expect(row.locator(".pill")).to_have_text("completed")


async def test_the_page_goes_on_when_the_worker_was_killed(
    visit: Visit, desk: Desk, project: str, gate: Gate
):
    """
    The session resumes in another process; the timeline says where, and nothing is shown twice.
    """
    page = visit.page
    await start(visit, project, "watched", gate)
    await expect(page.get_by_role("log", name="Prints")).to_contain_text("before the gate")
    assert gate.arrived.wait(60)
    desk.kill_worker()
    gate.opened.set()

    await expect(page.locator(".title .pill")).to_have_text("completed")
    await expect(page.get_by_role("log", name="Prints")).to_contain_text("after the gate: open")
    await expect(page.locator(".prints .print")).to_have_count(2)
    await expect(page.get_by_text("Processes")).to_be_visible()
    assert await page.evaluate("() => window.notReloaded")


async def test_the_page_goes_on_when_the_server_was_restarted(
    visit: Visit, desk: Desk, project: str, gate: Gate
):
    """
    The stream connects again by itself, the session resumes, and the page is the same one as before.
    """
    page = visit.page
    await start(visit, project, "watched", gate)
    await expect(page.get_by_role("log", name="Prints")).to_contain_text("before the gate")
    assert gate.arrived.wait(60)
    desk.up.kill()
    desk.up.start()
    gate.opened.set()

    await expect(page.locator(".title .pill")).to_have_text("completed")
    await expect(page.get_by_text("a new one went on from the journal")).to_be_visible()
    await expect(page.locator(".prints .print")).to_have_count(2)
    assert await page.evaluate("() => window.notReloaded")
