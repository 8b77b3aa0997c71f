"""Opens tickets by a slash command, and waits for their children."""

import hashlib
import hmac
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import autokitteh
from autokitteh import Event, next_signal, start, subscribe
from autokitteh.events import next_event, unsubscribe
from autokitteh.github import github_client
from autokitteh.slack import slack_client
from autokitteh.store import store
from slack_sdk.errors import SlackApiError

from bot import Ticket, number_for
from bot.tickets import Priority, post

MAX_WAIT = timedelta(seconds=int(os.environ["MAX_WAIT"]))
TEMPLATES = json.loads((Path(__file__).parent / "templates.json").read_text())
slack = slack_client("slack_conn", base_url=os.getenv("SLACK_URL"))
print("loaded", len(TEMPLATES))


def _verify(event) -> bool:
    body = event.data.body.bytes
    mac = hmac.new(os.environ["SIGNING_SECRET"].encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(mac, event.data.headers.get("X-Sig", ""))


def on_command(event: Event, session_id: str) -> dict:
    if not _verify(event):
        print("bad signature")
        return {"ok": False}
    form = event.data.body.form
    prio, _, title = form.text.partition(" ")
    ticket = Ticket(title, Priority(prio), tags=[t.strip("#") for t in title.split() if t.startswith("#")])
    no = number_for()
    opened = datetime.now(UTC)
    (
        slack
        .chat_postMessage(
            channel=form["channel_id"],
            text=TEMPLATES["opened"].format(no=no, line=ticket.line),
        )
    )
    reply = subscribe("replies", filter=f"data.url.path_suffix == '{no}' && has(data.body.json.by)")
    children = [
        start("desk.py:work", {"no": no, "part": part, "ticket": {"title": ticket.title}}, memo={"no": str(no)})
        for part in ("a", "b")
    ]
    created = post(f"{os.environ['API_URL']}/tickets", ticket)
    done = {}
    while len(done) < len(children):
        sig = next_signal([*children, "hurry"], timeout=MAX_WAIT)
        if sig is None:
            print("a child is late")
            break
        done[sig.name] = sig.payload
    print(sorted(d["completed"] for d in done.values()), sorted(str(d.get("value")) for d in done.values()))
    answer = next_event(reply, timeout=MAX_WAIT, full=True)
    if answer:
        print(answer.event_type, answer.data.body.json.by, type(answer.data.body.bytes).__name__)
    unsubscribe(reply)
    store[f"ticket:{no}"] = {"title": ticket.title, "api": created["id"], "parent": session_id == event.session_id}
    try:
        slack.conversations_create(name="t")
    except SlackApiError as e:
        print("slack:", e.response["error"])
    age = datetime.now(UTC) - opened
    assert age >= timedelta(0)
    return {"tags": ticket.tags, "id": created["id"]}


@autokitteh.activity
def measure(text):
    print("measuring", text)
    return {"length": len(text), "set": {1}}


def work(event):
    print(event.event_id, event.event_type, event.data.part)
    if event.data.part == "b":
        raise ValueError(f"no part {event.data.part}")
    m = measure(event.data.ticket.title)
    return m["length"]


def on_comment(event):
    gh = github_client("gh_conn")
    print(gh.get_repo("acme/router").full_name, event.data.comment.body)


class Nightly:
    def __init__(self, event):
        self.keys = [k for k in autokitteh.list_values_keys()]
        print(event.event_type, event.data, len(self.keys))
