"""
The Python examples of the pages run as written: durable, killed after each record in turn, and replayed.

What a page leaves to its reader (a function that sends mail) is defined beside the example. The server's answers
come from a desk in memory, Salesforce's from the fake org; hours and days pass at once.
"""

import ast
import base64
import hashlib
import inspect
import json
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import documented
import pytest

import ninelives
from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce
from ninelives_server.testing.session_harness import Answers, Harness, Journal, NothingYet, Outcome, Program

BLOCKS = {block.name: block for block in documented.blocks() if block.kind == "python"}
CALLBACK = "http://localhost:9980/oauth/redirect/salesforce"


class Impatient(Harness):
    """Starts parked sessions at once, with their time over."""

    def to_the_end(self, program: Program, journal: Journal) -> Outcome:
        """Run processes of a session until it has ended."""
        while (outcome := self.run(program, journal)).state == "parked":
            for row in journal.rows.values():
                if row.head["status"] == "started" and row.head["name"] in {"time.sleep", "ninelives.sleep"}:
                    row.body = struct.pack(">d", 0.0)  # its deadline
        return outcome


@pytest.fixture(scope="module")
def harness() -> Iterator[Impatient]:
    """Starts session processes."""
    made = Impatient(preload=["simple_salesforce"])
    yield made
    made.close()


@pytest.fixture(scope="module")
def org() -> Iterator[FakeSalesforce]:
    """A fake org in a thread of this process."""
    with FakeSalesforce.start() as running:
        yield running


@dataclass
class Desk:
    """The server's side of an example: what arrives for the session, and what it was asked to do."""

    events: Mapping[str, list[Any]] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    left: dict[str, list[Any]] = field(default_factory=dict)

    def reset(self) -> None:
        """Begin again."""
        self.asked.clear()
        self.left = {source: list(events) for source, events in self.events.items()}

    def answers(self) -> Answers:
        """Return what the server answers; every call but a wait is noted."""
        replies: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "subscribe": lambda args: f"sub_{args['source']}",
            "unsubscribe": lambda _: None,
            "start": lambda args: f"ses_{args['data']['n']}",
            "outcome": lambda _: None,
        }

        def noted(name: str) -> Callable[[Mapping[str, Any]], Any]:
            def answer(args: Mapping[str, Any]) -> Any:
                self.asked.append((name, args))
                return replies[name](args)

            return answer

        waits = {"next_event": self._next_event, "next_signal": self._next_signal}
        return {name: noted(name) for name in replies} | waits

    def _next_event(self, args: Mapping[str, Any]) -> Any:
        for subscription in args["ids"]:
            if found := self.left.get(subscription.removeprefix("sub_")):
                return found.pop(0)
        if args["timeout"] is None:
            raise NothingYet
        return None

    def _next_signal(self, args: Mapping[str, Any]) -> Any:
        """Say that a child has ended; `work` of the page says with what."""
        ended = self.left.setdefault("ended", [])
        name = next(name for name in args["names"] if name not in ended)
        ended.append(name)
        return {"name": name, "payload": {"completed": True, "value": 2 * int(name.removeprefix("ses_"))}}


def an_event(**data: Any) -> dict[str, Any]:
    """Return an event as the server hands it out."""
    return {"data": data, "event_id": "evt_1", "event_type": data.pop("type", "quote")}


@dataclass(frozen=True)
class Play:
    """An example, and what must come of it.

    Attributes:
        entry: The function that is run.
        beside: What the page leaves to the reader.
        asked: What the server was asked, by name, in order.
    """

    block: str
    entry: str
    data: Mapping[str, Any] = field(default_factory=dict)
    beside: str = ""
    events: Mapping[str, list[Any]] = field(default_factory=dict)
    result: Any = None
    prints: str = ""
    asked: tuple[str, ...] = ()


PLAYS = [
    Play("guides/schedules.md 2", "cleanup", prints="time to clean up\n"),
    Play(
        "guides/webhooks.md 2",
        "on_order",
        data={"body": {"json": {"id": 7}}, "url": {"path": "/webhooks/x"}},
        prints="order 7 from /webhooks/x\n",
    ),
    Play(
        "guides/webhooks.md 5",
        "quote",
        prints="this still runs, the answer has gone already\n",
        asked=("outcome",),
    ),
    Play(
        "guides/waiting.md 1",
        "on_quote",
        data={"Id": "0Q0"},
        events={"crm": [an_event(Id="0Q0", Status="accepted")]},
        result="accepted",
        asked=("subscribe", "unsubscribe"),
    ),
    Play(
        "guides/waiting.md 1",
        "on_quote",
        data={"Id": "0Q0"},
        result="no answer",
        asked=("subscribe", "unsubscribe"),
    ),
    Play(
        "guides/waiting.md 3",
        "on_request",
        beside="def send_mail(text):\n    print(text)\n",
        events={"approvals": [an_event(url={"query": {"id": "ses_test"}})]},
        prints="approve with https://nine.example/webhooks/6kq?id=ses_test\napproved\n",
        asked=("subscribe",),
    ),
    Play(
        "guides/waiting.md 4",
        "watch",
        events={"pager": [an_event(type="page", n=1)], "chat": [an_event(type="message", n=2)]},
        prints="page {'n': 1}\nmessage {'n': 2}\n",
        asked=("subscribe", "subscribe"),
    ),
    Play(
        "guides/waiting.md 5",
        "parent",
        prints="".join(f"ses_{n} {{'completed': True, 'value': {2 * n}}}\n" for n in range(3)),
        asked=("start", "start", "start"),
    ),
    Play("guides/waiting.md 5", "work", data={"n": 3}, result=6),
]
#: On the fake org: what starts the function.
ON_SALESFORCE = {
    "README.md 1": lambda lead: {"ChangeEventHeader": {"recordIds": [lead]}},
    "guides/projects.md 3": lambda lead: {"Id": lead},
    "reference/sdk.md 1": lambda lead: {"ChangeEventHeader": {"recordIds": [lead]}},
}
#: With a test of their own, below.
OF_THEIR_OWN = {"guides/waiting.md 6", "reference/fake-salesforce.md 2"}


def test_every_python_block_is_run():
    """
    A block that nobody runs would be forgotten.
    """
    assert {play.block for play in PLAYS} | ON_SALESFORCE.keys() | OF_THEIR_OWN == BLOCKS.keys()


def written(block: str, directory: Path, beside: str = "") -> Path:
    """Write an example as a project's `main.py`."""
    build = directory / "build"
    build.mkdir()
    (build / "main.py").write_text(f"{BLOCKS[block].text}\n\n{beside}", encoding="utf-8")
    return build


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: f"{play.block}-{play.entry}-{len(play.events)}")
def test_an_example_that_is_killed_anywhere_does_what_its_page_says(play: Play, harness, tmp_path: Path):
    """
    Result, prints and what the server was asked are the same, wherever the process dies.
    """
    desk = Desk(play.events)
    program = Program(
        written(play.block, tmp_path, play.beside),
        entrypoint=f"main.py:{play.entry}",
        data=play.data,
        env={"approvals__webhook_url": "https://nine.example/webhooks/6kq"},
        answers=desk.answers(),
    )

    whole = harness.crash_everywhere(program, reset=desk.reset, effects=lambda: count(desk.asked))

    assert (whole.state, whole.error) == ("completed", None)
    assert (whole.result, whole.prints) == (play.result, play.prints)
    assert tuple(name for name, _ in desk.asked) == play.asked


def test_an_example_that_goes_on_for_ever_begins_anew_with_its_subscription(harness, tmp_path: Path):
    """
    After a thousand events; its process is killed at the first of them, in the middle and at the last.
    """
    block, source = "guides/waiting.md 6", "def handle(change):\n    print(change.n)\n"
    desk = Desk({"crm": [an_event(n=n) for n in range(1001)]})
    program = Program(written(block, tmp_path, source), entrypoint="main.py:on_start", answers=desk.answers())
    desk.reset()
    journal = Journal()
    for count_of_records in (3, 1000, 996):
        assert harness.run(program, journal, kill_after=count_of_records).state == "killed"

    ended = harness.run(program, journal)

    assert (ended.state, ended.restart) == ("completed", {"sub": "sub_crm"})
    assert ended.prints.split() == [str(n) for n in range(1000)]
    assert desk.left["crm"] == [an_event(n=1000)]
    assert [name for name, _ in desk.asked] == ["subscribe"]


def count(asked: list[tuple[str, Any]]) -> dict[str, int]:
    """Return how often the server was asked what."""
    said = [f"{name} {json.dumps(args, sort_keys=True, default=str)}" for name, args in asked]
    return {what: said.count(what) for what in said}


@pytest.mark.parametrize("block", ON_SALESFORCE)
def test_an_example_with_salesforce_changes_the_org_once(block: str, harness, org, tmp_path: Path):
    """
    Wherever its process dies; the lead is hot in the end.
    """
    control = org.control
    lead = control.create_record(entity="Lead", fields={"LastName": "Byron", "Company": "Engines"})
    token = control.issue_token()
    variables = {"crm__oauth_access_token": token["access_token"], "crm__instance_url": token["instance_url"]}
    program = Program(
        written(block, tmp_path),
        entrypoint="main.py:on_lead",
        data=ON_SALESFORCE[block](lead),
        env=variables,
        secrets={"crm__oauth_access_token": token["access_token"]},
        answers={"token": lambda _: {"token": token["access_token"], "instance_url": token["instance_url"]}},
        connections=["crm"],
        ca_file=org.details.ca_file,
    )

    whole = harness.crash_everywhere(
        program,
        reset=control.forget_requests,
        effects=lambda: Counter(request["method"] for request in control.requests(path=f"*/{lead}")),
    )

    assert (whole.state, whole.error) == ("completed", None)
    assert control.record(entity="Lead", record_id=lead)["Rating"] == "Hot"
    assert any(row.head["name"].endswith("sleep") for row in whole.journal.in_order())


class Names(dict[str, Any]):
    """What the reader of the fake org's page has at hand."""

    def __missing__(self, name: str) -> str:
        if name != "authorize_url":
            raise KeyError(name)
        fields = {
            "response_type": "code",
            "client_id": self["org"].details.client_id,
            "redirect_uri": CALLBACK,
        }
        challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 43).digest()).rstrip(b"=").decode()
        query = urlencode(
            {**fields, "state": "s1", "code_challenge": challenge, "code_challenge_method": "S256"}
        )
        return f"{self['org'].details.login_url}/services/oauth2/authorize?{query}"


async def test_the_example_of_the_fake_org_gets_a_code():
    """
    As a piece of a coroutine, in a test.
    """
    text = BLOCKS["reference/fake-salesforce.md 2"].text
    names = Names(callback=CALLBACK)

    await eval(compile(text, "page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), {}, names)

    assert names["callback_url"].startswith(f"{CALLBACK}?")
    assert parse_qs(urlsplit(names["callback_url"]).query)["code"]
    assert names["lead"].startswith("00Q")


#: `ninelives.start("file.py:name", data)`, and the same of the store's functions.
CALLS = sorted(
    {
        call
        for page in documented.PAGES
        for call in re.findall(r"`@?(?:ninelives\.)?(\w+\([^`…]*\))`", page.read_text(encoding="utf-8"))
        if hasattr(ninelives, call.partition("(")[0])
    }
)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_named_in_passing_fits_its_function(call: str):
    """
    Each argument that a page names is one.
    """
    node = ast.parse(call, mode="eval").body
    assert isinstance(node, ast.Call)
    function = getattr(ninelives, call.partition("(")[0])

    inspect.signature(function).bind(*node.args, **{str(word.arg): word.value for word in node.keywords})
