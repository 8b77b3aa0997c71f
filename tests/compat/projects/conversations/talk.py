"""What AutoKitteh's own tests do with events and signals."""

import asyncio

import autokitteh
from autokitteh import AutoKittehError, activity
from autokitteh.events import next_event, start, subscribe, unsubscribe
from autokitteh.signals import Signal, next_signal, signal


def bad_subscribe(event):
    try:
        autokitteh.subscribe("meow", "woof")
    except AutoKittehError as e:
        return str(e)


@activity
def wait_for_nothing():
    next_event("sig_nothing")


def event_in_activity(event):
    try:
        wait_for_nothing()
    except AutoKittehError as e:
        return str(e)


def parent(event):
    good, bad = start("talk.py:good_child"), start("talk.py:bad_child")
    first, second = next_signal(good), next_signal([good, bad], timeout=60)
    nothing = next_signal([good, bad], timeout=1)
    return [
        isinstance(first, Signal),
        [first.name == good, first.payload],
        [second.name == bad, second.payload["completed"]],
        nothing,
    ]


def good_child(event):
    return 2


def bad_child(event):
    raise ValueError("no luck")


def ping(event, session_id):
    child = start("talk.py:pong", {"parent": session_id}, memo={"why": "pong"})
    for n in range(3):
        signal(child, "ping", {"n": n})
        sig = next_signal(["pong", child])
        print(f"{sig.name} {sig.payload}")
    done = next_signal(["pong", child])
    return [done.name == child, done.payload]


def pong(event):
    for _ in range(3):
        sig = next_signal("ping", timeout=60)
        signal(event.data.parent, "pong", sig.payload["n"] * 10)
    return "done"


def listen():
    go, one, two = (subscribe(name) for name in ("go", "one", "two"))
    print("ready")
    next_event(go, timeout=0)
    found = [next_event([one, two]).body.json for _ in range(3)]
    full = next_event([two, one], full=True)
    nothing = next_event([one, two], timeout=1)
    unsubscribe(one)
    unsubscribe(one)
    return [found, full.event_type, full.data.body.bytes == b'"x"', full["event_id"] == full.event_id, nothing]


@activity
def listen_in_activity():
    return listen()


def events(event):
    return listen()


def events_in_activity(event):
    return listen_in_activity()


def aio(event):
    async def main():
        sub = autokitteh.subscribe("one", "data.body.json == 5")
        print("ready")
        return autokitteh.next_event(sub).method

    return asyncio.run(main())


def other_project(event):
    child = start("second.py:add", {"x": 1}, project="second_project")
    return next_signal(child).payload["value"]


def other_project_nondurable(event):
    return start("second.py:add", {"x": 1}, project="second_project")
