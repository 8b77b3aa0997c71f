"""Many events at once at a real server: all are kept, few run, and the pages answer meanwhile."""

import asyncio
import os
import threading
import time
from collections import Counter
from concurrent import futures
from pathlib import Path

import httpx2
import pytest

from ninelives_server.testing import running
from ninelives_server.testing.person import Person

#: Events of the storm; CI sends few, `NINELIVES_TEST_STORM=50000` sends what the product promises.
STORM = int(os.environ.get("NINELIVES_TEST_STORM", "200"))
#: From here on it is a storm, and the promise of a second is checked. events
_PROMISED = 10_000
_CONNECTIONS = 32
_AT_ONCE = 5
_PAGES = (
    "/",
    "/projects/storm",
    "/projects/storm/events",
    "/projects/storm/sessions",
    "/projects/storm/triggers",
)

pytestmark = [pytest.mark.system, pytest.mark.timeout(7200), pytest.mark.xdist_group("room")]

PROJECT = Path(__file__).parent / "project_storm"


def test_a_storm_of_webhooks_is_kept_and_let_in_by_and_by(up, counter):
    """
    Each webhook is answered 202 and starts one session, never more than may run; a page takes no second.
    """
    up.cli("deploy", str(PROJECT))
    [hook] = up.call("GET", "/projects/storm/triggers")["items"]
    counter.hold_seconds = 0.0
    counter.gate.clear()

    with Looker(up) as looker:
        seconds, events = asyncio.run(_storm(hook["webhook_url"], counter.url))
    report = f"{STORM} events in {seconds:.1f} s, {looker.count} pages, the slowest of each: {looker.slowest}"
    print(report, flush=True)
    running.until("all that may to run", lambda: len(counter.now_inside()) == _AT_ONCE)
    running.until("each event to have its session", lambda: _count(up) == STORM, seconds=600)
    waiting = up.call("GET", "/sessions", params={"project": "storm", "state": "created", "limit": 1})[
        "items"
    ]
    counter.gate.set()
    most = _let_in(up, counter)

    assert len(set(events)) == STORM
    assert waiting[0]["queue_reason"]
    assert most <= _AT_ONCE
    assert Counter(key for key, _ in counter.arrivals) == Counter(f"n/{n}" for n in range(STORM))
    if STORM >= _PROMISED:
        assert max(looker.slowest.values()) < 1.0, report


class Looker:
    """Somebody who looks at one page after the other, in a thread.

    Attributes:
        slowest: How long each page took at most. seconds
        count: How many pages were looked at.
    """

    def __init__(self, up):
        self.slowest = dict.fromkeys(_PAGES, 0.0)
        self.count = 0
        self._up = up
        self._link = up.cli("login", "--web").stdout.strip()
        self._is_over = threading.Event()
        self._looks = futures.ThreadPoolExecutor(1)

    def __enter__(self):
        self._looking = self._looks.submit(self._look)
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._looking.result(60)
        self._looks.shutdown()

    def _look(self):
        with Person() as person:
            person.open(self._link)
            person.submit()
            while not self._is_over.wait(0.1):
                path = _PAGES[self.count % len(_PAGES)]
                began = time.monotonic()
                page = person.open(f"{self._up.url}{path}")
                assert page.status == 200, page.text
                self.slowest[path] = max(self.slowest[path], round(time.monotonic() - began, 3))
                self.count += 1


async def _storm(hook, url):
    """Send the events over some connections; return the seconds that it took, and the events' ids."""
    numbers, events = iter(range(STORM)), []
    limits = httpx2.Limits(max_connections=_CONNECTIONS)
    async with httpx2.AsyncClient(timeout=120, limits=limits, trust_env=False) as http:

        async def send():
            for n in numbers:
                answer = await http.post(hook, json={"n": n, "url": url})
                assert answer.status_code == 202, answer.text
                events.append(answer.json()["event_id"])

        began = time.monotonic()
        await asyncio.gather(*(send() for _ in range(_CONNECTIONS)))
        return time.monotonic() - began, events


def _count(up):
    """Return how many sessions there are, by the server's metrics."""
    headers = {"Authorization": f"Bearer {up.token}"}
    text = httpx2.get(f"{up.url}/metrics", headers=headers, trust_env=False).text
    lines = [line for line in text.splitlines() if line.startswith("ninelives_sessions{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def _let_in(up, counter):
    """Wait until each event has run; return how many ran at once at most."""
    most, deadline = 0, time.monotonic() + 60 + STORM
    while len(counter.arrivals) < STORM or counter.now_inside():
        most = max(most, len(counter.now_inside()))
        assert time.monotonic() < deadline, f"{len(counter.arrivals)} of {STORM} have run"
        time.sleep(0.05)
    return most
