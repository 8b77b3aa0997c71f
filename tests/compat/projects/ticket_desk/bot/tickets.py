import dataclasses
import enum
import functools
import logging

import autokitteh
import requests

log = logging.getLogger(__name__)


class Priority(enum.StrEnum):
    LOW = "low"
    HIGH = "high"


@dataclasses.dataclass
class Ticket:
    title: str
    priority: Priority
    tags: list[str] = dataclasses.field(default_factory=list)

    @property
    def line(self) -> str:
        return f"[{self.priority.value}] {self.title}"


def retrying(times):
    def wrap(fn):
        @functools.wraps(fn)
        def inner(*args, **kwargs):
            for attempt in range(times):
                try:
                    return fn(*args, **kwargs)
                except requests.HTTPError as e:
                    log.warning("attempt %d: %s", attempt, e.response.status_code)
            raise RuntimeError("gave up")
        return inner
    return wrap


@retrying(3)
def post(url, ticket):
    resp = requests.post(url, json=dataclasses.asdict(ticket), timeout=10)
    resp.raise_for_status()
    return resp.json()


def number_for():
    return autokitteh.add_values("ticket_no", 1)
