"""Projects that import `autokitteh`: what they rely on, from the original's own tests."""

import pytest

from ninelives_server.testing.session_harness import CallError


def test_activities_are_steps_wherever_they_are_defined(harness, program):
    """Before or after their use, sync and async, nested, inhibited."""
    made = program(
        """
        import autokitteh
        from autokitteh import activity, inhibit_activities

        @activity
        def foo():
            return 1

        async def main(event):
            first, second = foo(), await bar()
            return [first, second, outer(), quiet()]

        @activity
        async def bar():
            return await deeper()

        async def deeper():
            return 8

        @activity
        def outer():
            return foo() + 1

        @inhibit_activities
        def quiet():
            return foo() + foo()
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == [1, 8, 2, 2]
    assert whole.journal.steps() == ["main.foo", "main.bar", "main.outer"]


def test_gathered_activities_start_all_of_them(harness, program):
    """In the original `asyncio.gather(act1(), act2())` starts none."""
    made = program(
        """
        import asyncio
        from autokitteh import activity

        @activity
        async def act(n):
            await asyncio.sleep(0.01)
            return n

        async def main(event):
            return await asyncio.gather(act(1), act(2), act(3))
        """
    )

    whole = harness.crash_everywhere(made, is_sequential=False)

    assert whole.result == [1, 2, 3]
    assert whole.journal.steps() == ["main.act"] * 3


def test_what_is_registered_is_no_activity(harness, program):
    """Functions and methods; a class covers its constructor and its methods."""
    made = program(
        """
        import autokitteh, os, platform
        from urllib.request import Request

        autokitteh.register_no_activity([os.path.exists, Request])

        def main(event):
            platform.node()
            return [os.path.exists("/"), Request("http://x.example").get_method()]
        """
    )

    outcome = harness.run(made)

    assert outcome.result == [True, "GET"]
    assert outcome.journal.steps() == ["platform.node"]


def test_an_entry_point_may_be_an_activity(harness, program):
    """It is one step as a whole, and gets its `session_id`."""
    made = program(
        """
        from autokitteh import activity

        @activity
        def main(event, session_id):
            print("in", event.data)
            return session_id
        """
    )

    outcome = harness.run(made)

    assert outcome.result == "ses_test"
    assert outcome.journal.steps() == ["main.main"]


@pytest.mark.parametrize("is_durable", [True, False])
def test_the_store_is_the_servers(harness, program, is_durable):
    """Functions from the package and from its modules, `mutate_value` with its own order of operands."""
    data = {}

    def check_and_set(args):
        if data.get(args["key"]) != args["expected"]:
            return False
        data[args["key"]] = args["value"]
        return True

    made = program(
        """
        import autokitteh
        from autokitteh import get_value, set_value, store
        from autokitteh.store import add_values, mutate_value, list_values_keys, Op

        def main(event):
            set_value("a", 1)
            store["b"] = {"x": [1]}
            return [get_value("a"), get_value("no"), add_values("a", 2), store["b"], list_values_keys(),
                    mutate_value("a", Op.CHECK_AND_SET, 9, 3), autokitteh.check_and_set_value("a", 9, 10),
                    get_value("a")]
        """,
        answers={
            "store.get": lambda args: data.get(args["key"]),
            "store.set": lambda args: data.__setitem__(args["key"], args["value"]),
            "store.add": lambda args: (
                data.__setitem__(args["key"], data.get(args["key"], 0) + args["value"]) or data[args["key"]]
            ),
            "store.check_and_set": check_and_set,
            "store.list": lambda _args: sorted(data),
        },
        is_durable=is_durable,
    )

    assert harness.run(made).result == [1, None, 3, {"x": [1]}, ["a", "b"], True, True, 10]


def test_errors_of_the_server_are_the_packages_own(harness, program):
    """`except AutoKittehError` finds them; children are started through the server."""

    def start(args):
        if args["loc"] == "nowhere.py:f":
            raise CallError("NinelivesError", "start: there is no such thing")
        return "ses_child"

    made = program(
        """
        import autokitteh
        from autokitteh.errors import AutoKittehError

        def main(event):
            child = autokitteh.start("main.py:main", {"a": 1})
            try:
                autokitteh.start("nowhere.py:f")
            except AutoKittehError as error:
                return [child, str(error)]
        """,
        answers={"start": start},
    )

    assert harness.crash_everywhere(made).result == ["ses_child", "start: there is no such thing"]


def test_what_subscribe_refuses_is_said_as_by_the_original(harness, program):
    """Programs compare the text, in the package and in its modules."""
    made = program(
        """
        import autokitteh
        from autokitteh.events import subscribe

        def main(event):
            found = []
            for function in autokitteh.subscribe, subscribe:
                try:
                    function("meow", "woof")
                except autokitteh.errors.AutoKittehError as error:
                    found.append(str(error))
            try:
                subscribe("")
            except ValueError as error:
                found.append(type(error).__name__)
            return found
        """,
        answers={"subscribe": _no_such_source},
    )

    assert harness.crash_everywhere(made).result == [
        'subscribe: rpc error: code = Internal desc = subscribe(meow, woof) -> source "meow" not found',
        'subscribe: rpc error: code = Internal desc = subscribe(meow, woof) -> source "meow" not found',
        "ValueError",
    ]


def _no_such_source(args):
    raise CallError("NoSuchSource", f"there is no connection or trigger {args['source']!r}")


def test_a_time_out_of_zero_waits_for_ever(harness, program):
    """As in the original; `None` and other times are what they are."""
    asked = []
    made = program(
        """
        import autokitteh
        from autokitteh.signals import next_signal

        @autokitteh.activity
        def in_activity():
            try:
                autokitteh.next_event("sub_x", timeout=0)
            except autokitteh.errors.AutoKittehError as error:
                return str(error)

        def main(event):
            got = next_signal(["a", "b"], timeout=0)
            assert type(got) is autokitteh.Signal
            return [got.name, got.payload.x, autokitteh.next_event("sub_x", timeout=2).body.bytes == b"hi", in_activity()]
        """,
        answers={
            "next_signal": lambda args: asked.append(args["timeout"]) or {"name": "b", "payload": {"x": 1}},
            "next_event": lambda args: _event_once(asked, args),
        },
    )

    outcome = harness.run(made)

    assert outcome.result == ["b", 1, True, "next_event inside activity: no such subscription"]
    assert asked == [None, 2, None]


def _event_once(asked, args):
    asked.append(args["timeout"])
    if len(asked) > 2:
        raise CallError("ValueError", "no such subscription")
    return {"event_id": "evt_1", "event_type": "post", "data": {"body": {"bytes": "aGk="}}}


def test_a_lock_or_an_odd_result_fails_no_session(harness, program):
    """Where the original ends with an error about pickling."""
    made = program(
        """
        import threading
        from autokitteh import activity

        class Odd:
            def __reduce__(self):
                raise AttributeError("no")

        @activity
        def odd():
            return Odd()

        def main(event):
            lock = threading.Lock()
            with lock:
                return type(odd()).__name__
        """
    )

    assert harness.run(made).result == "Odd"


def test_an_exception_that_does_not_unpickle_is_caught_by_its_class(harness, program):
    """As `openai.RateLimitError`: its `__init__` wants more than `args` holds."""
    made = program(
        """
        from autokitteh import activity

        class RateLimit(Exception):
            def __init__(self, message, *, response):
                super().__init__(message)
                self.response = response

        @activity
        def ask():
            raise RateLimit("slow down", response=lambda: 1)

        def main(event):
            try:
                ask()
            except RateLimit as error:
                return str(error)
        """
    )

    assert harness.crash_everywhere(made).result == "slow down"


def test_tokens_are_refreshed_by_the_server(harness, program):
    """`refresh_oauth` returns the new token and when it expires, in UTC without a zone."""
    made = program(
        """
        from autokitteh.connections import refresh_oauth
        import ninelives

        @ninelives.step
        def main(event):
            token, expires = refresh_oauth("hubspot", "hub")
            return [token, str(expires)]
        """,
        answers={"token": lambda _args: {"token": "new-token", "expires_at": "2026-11-23T12:00:00Z"}},
        connections=["hub"],
    )

    assert harness.run(made).result == ["[hub__oauth_access_token]", "2026-11-23 12:00:00"]


def test_an_event_is_read_as_the_original_reads_it(harness, program):
    """Attributes, items, methods of dictionaries; a missing one is an `AttributeError`."""
    made = program(
        """
        import autokitteh

        def main(event):
            try:
                event.data.nothing
            except AttributeError as error:
                missing = str(error)
            return [event.data.a.b, event.data["a"]["b"], event.data.get("x", 5), missing, dict(event.data.a)]
        """,
        data={"a": {"b": 1}},
    )

    assert harness.run(made).result == [1, 1, 5, "nothing", {"b": 1}]
