"""Starts sessions of all kinds, as users and other systems do: by the API, by webhooks, by changes in the org."""

import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
from ledger import Ledger
from theatre import Stage

#: Kind -> (its share of all sessions, how many steps one takes).
KINDS: Mapping[str, tuple[int, int]] = {
    "sync": (3, 12),
    "aio": (2, 12),
    "threads": (2, 12),
    "waits": (3, 3),
    "children": (2, 2),
    "listens": (3, 4),
    "order": (3, 3),
    "lead": (3, 2),
}
#: What one is started by; the others by the API.
BY_EVENT = frozenset({"order", "lead"})
#: Who asks a server that is being killed asks again. seconds
PATIENCE = 240.0


@dataclass
class Crowd:
    """Who was started.

    Attributes:
        sessions: Name -> id; those that events start are found at the end.
        kinds: Name -> kind.
        asked: How often a request had to be sent again, because nobody answered.
    """

    sessions: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    asked: int = 0


def names(count: int, chance: random.Random) -> list[tuple[str, str]]:
    """Return name and kind of each session, mixed."""
    parts = sum(share for share, _ in KINDS.values())
    kinds = [kind for kind, (share, _) in KINDS.items() for _ in range(max(1, round(share * count / parts)))]
    chance.shuffle(kinds)
    return [(f"{kind}-{n}", kind) for n, kind in enumerate(kinds)]


class Starter:
    """Asks for sessions until it was heard; never twice for the same."""

    def __init__(self, stage: Stage, ledger: Ledger, pause: float) -> None:
        self._stage = stage
        self._ledger = ledger
        self._url = ledger.url
        self._pause = pause
        self._token = stage.up.token
        self.crowd = Crowd()
        triggers = stage.up.call("GET", "/projects/chaos/triggers")["items"]
        hooks = {t["name"]: t["webhook_url"] for t in triggers if t["webhook_url"]}
        self._hook, self._news = hooks["order"], hooks["news"]

    def start(self, name: str, kind: str) -> None:
        """Start one."""
        self.crowd.kinds[name] = kind
        if kind == "lead":
            self._stage.org.control.create_record(
                entity="Lead", fields={"LastName": "Doe", "Company": name}, username=None
            )
        elif kind == "order":
            self._post(self._hook, {"name": name, "url": self._url}, name)
        else:
            inputs = {"name": name, "url": self._url, "pause": self._pause}
            body = {"entrypoint": f"main.py:{kind}", "inputs": inputs, "is_durable": True}
            answer = self._post(f"{self._stage.up.url}/api/v1/projects/chaos/sessions", body, name)
            self.crowd.sessions[name] = answer["id"]
            if kind == "listens":
                threading.Thread(target=self._send_news, args=(name,), daemon=True).start()

    def _send_news(self, name: str) -> None:
        """Send three events to a session, in order, once it listens."""
        while not self._ledger.arrivals[f"{name}/0"]:
            time.sleep(0.2)
        for n in range(3):
            self._post(self._news, {"to": name, "n": n}, f"{name}-{n}")
            time.sleep(self._pause / 3)

    def _post(self, url: str, body: Mapping[str, Any], name: str) -> Any:
        """Send a request, again and again with the same `Idempotency-Key` until it is answered."""
        headers = {"Authorization": f"Bearer {self._token}", "Idempotency-Key": name}
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                answer = httpx2.post(url, json=body, headers=headers, timeout=20, trust_env=False)
                if answer.is_success:
                    return answer.json()
                if answer.status_code < 500:
                    raise RuntimeError(f"{url} answered {answer.status_code}: {answer.text}")
                said = answer.text
            except httpx2.HTTPError as error:
                said = repr(error)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{url} did not take {name} in {PATIENCE:.0f} s: {said}")
            self.crowd.asked += 1
            time.sleep(0.5)


def found(stage: Stage) -> Iterator[dict[str, Any]]:
    """Yield every session of the project, as the API lists them."""
    cursor: str | None = None
    while True:
        params = {"project": "chaos", "limit": 200, **({"cursor": cursor} if cursor else {})}
        page = stage.up.call("GET", "/sessions", params=params)
        yield from page["items"]
        cursor = page["next_cursor"]
        if not cursor:
            return
