"""Every function of the package `autokitteh` 0.8.3: on the package, in its modules, and what they return."""

import importlib
import inspect
import pkgutil

import autokitteh
import pytest
from doubles import Values

from ninelives_server.testing.session_harness import CallError

EACH_MODE = pytest.mark.parametrize("is_durable", [True, False], ids=["durable", "nondurable"])

#: What the original leaves as a dummy in its modules, or never replaces at all, and what may stay as it is.
KEPT = {
    "autokitteh.activities": {"activity", "inhibit_activities"},  # they mark; what they mark is noticed
    "autokitteh.connections": {"check_connection_name"},
    "autokitteh.triggers": {"get_webhook_url"},
    "autokitteh.store": {"get_store_public_url"},
}


def test_every_function_of_the_package_is_replaced(harness, program):
    """A dummy that does nothing would look as if it had worked."""
    modules = ("activities", "events", "signals", "outcomes", "store", "connections", "triggers")
    names = {
        f"autokitteh.{name}": [
            key
            for key, value in vars(importlib.import_module(f"autokitteh.{name}")).items()
            if inspect.isfunction(value) and value.__module__ == f"autokitteh.{name}"
        ]
        for name in modules
    }
    made = program(
        f"""
        import importlib, sys

        def main(event):
            import autokitteh
            dummies = []
            for module, names in {names!r}.items():
                found = importlib.import_module(module)
                for name in names:
                    for place in (found, autokitteh):
                        fn = getattr(place, name, None)
                        if fn is not None and "/autokitteh/" in getattr(fn, "__code__", main.__code__).co_filename:
                            dummies.append(f"{{module}}.{{name}}")
            return sorted(set(dummies))
        """
    )

    expected = sorted(f"{module}.{name}" for module, kept in KEPT.items() for name in kept)

    found = harness.run(made).result

    assert [name for name in found if name not in expected] == []


@EACH_MODE
def test_37_results_of_the_store(harness, program, is_durable):
    """Exactly those of the original, from the package and from its module."""
    values = Values()
    made = program(
        """
        import autokitteh
        from autokitteh.store import Op, mutate_value

        def main(event):
            return [
                autokitteh.get_value("a"),
                autokitteh.set_value("a", 1),
                autokitteh.get_value("a"),
                autokitteh.add_values("a", 2),
                autokitteh.add_values("new", 2**70),
                autokitteh.check_and_set_value("a", 4, 5),
                autokitteh.check_and_set_value("a", 3, 5),
                autokitteh.check_and_set_value("none", None, 1),
                autokitteh.list_values_keys(),
                mutate_value("a", Op.SET, 7),
                mutate_value("a", Op.GET),
                mutate_value("a", Op.ADD, 1),
                mutate_value("a", Op.CHECK_AND_SET, 9, 8),
                mutate_value("a", "get"),
                mutate_value("a", Op.DEL),
                autokitteh.del_value("nothing"),
                autokitteh.set_value("list", [1, {"x": None}]),
                autokitteh.get_value("list"),
            ]
        """,
        answers=values.answers(),
        is_durable=is_durable,
    )

    assert harness.run(made).result == [
        *(None, None, 1, 3, 2**70, False, True, True),
        ["a", "new", "none"],
        *(None, 7, 8, True, 9, None, None, None),
        [1, {"x": None}],
    ]


@EACH_MODE
def test_38_the_store_as_a_dictionary(harness, program, is_durable):
    """It is the project's; what the original cannot tell (`in`, defaults) it tells."""
    values = Values()
    made = program(
        """
        from autokitteh import store
        import autokitteh

        def main(event):
            del store["nothing"]
            store["b"] = 1
            store["a"] = {"x": [1]}
            found = [store["nothing"], list(store), len(store), store["a"], "a" in store, "c" in store]
            found += [store.get("c"), store.get("c", 5), store.get("b"), store.setdefault("d", 4), store["d"]]
            found += [store.pop("d"), store.pop("d", None), sorted(store.keys()), sorted(store.items())[1]]
            store.update({"e": 1})
            del store["e"]
            try:
                store.pop("e")
            except KeyError as error:
                found.append(str(error))
            store["nil"] = None
            found += ["nil" in store, store.get("nil", 1), autokitteh.store.get_value("b")]
            return found
        """,
        answers=values.answers(),
        is_durable=is_durable,
    )

    assert harness.run(made).result == [
        *(None, ["a", "b"], 2, {"x": [1]}, True, False),
        *(None, 5, 1, 4, 4),
        *(4, None, ["a", "b"], ["b", 1]),
        *("'e'", True, None, 1),
    ]
    assert values.data == {"a": {"x": [1]}, "b": 1, "nil": None}


def test_values_are_published_and_taken_back(harness, program):
    """`unpublish_value` does nothing in the original."""
    values = Values()
    made = program(
        """
        import autokitteh

        def main(event):
            autokitteh.set_value("k", 1)
            autokitteh.publish_value("k")
            autokitteh.set_value("j", 1)
            autokitteh.publish_value("j")
            autokitteh.unpublish_value("j")
            try:
                autokitteh.publish_value("none")
            except Exception as error:
                return [type(error).__name__, autokitteh.get_store_public_url()]
        """,
        answers=values.answers(),
        env={"store_public_url": "http://localhost:9980/store/prj_1"},
    )

    assert harness.run(made).result == ["AutoKittehError", "http://localhost:9980/store/prj_1"]
    assert values.published == {"k"}


def test_the_store_is_changed_once_whatever_crashes(harness, program):
    """Killed after each record in turn: the sum is the same."""
    values = Values()
    made = program(
        """
        import autokitteh

        def main(event):
            autokitteh.add_values("n", 1)
            autokitteh.store["seen"] = autokitteh.add_values("n", 1)
            return autokitteh.get_value("n")
        """,
        answers=values.answers(),
    )

    assert harness.crash_everywhere(made, reset=values.data.clear).result == 2


@EACH_MODE
def test_the_event_is_the_packages_own_class(harness, program, is_durable):
    """Attributes and items, `session_id`, bytes of a body; what user code makes is of the same kind."""
    made = program(
        """
        import autokitteh
        from autokitteh import AttrDict, Event
        from autokitteh.event import Event as Same

        def main(event, session_id):
            own = AttrDict({"a": {"b": {"c": 1}}, "keys": 2})
            own["x"] = 1
            try:
                own.y = 1
            except NotImplementedError:
                refused = True
            made = Event(AttrDict({"q": 1}), None, None)
            return [
                isinstance(event, Event), Event is Same, isinstance(event.data, AttrDict),
                event["data"]["body"]["bytes"] == b"hi", event.data.body.bytes == b"hi",
                event["session_id"] == event.session_id == session_id, event.event_type, event.event_id,
                own.a.b.c, own.x, callable(own.keys), refused, made.data.q, dict(own) == own,
            ]
        """,
        data={"body": {"bytes": "aGk=", "text": "hi"}},
        event_id="evt_1",
        event_type="post",
        is_durable=is_durable,
    )

    assert harness.run(made).result == [
        *(True, True, True, True, True, True, "post", "evt_1"),
        *(1, 1, True, True, 1, True),
    ]


@EACH_MODE
def test_a_manual_start_has_no_event(harness, program, is_durable):
    """Id and type are `None`, data are the inputs."""
    made = program(
        "import autokitteh\n\ndef main(event):\n    return [event.data.x, event.event_id, event.event_type]\n",
        data={"x": 1},
        is_durable=is_durable,
    )

    assert harness.run(made).result == [1, None, None]


@EACH_MODE
def test_48_outcomes_are_given_as_the_original_takes_them(harness, program, is_durable):
    """And the body by its position too."""
    given = []
    made = program(
        """
        import autokitteh
        from autokitteh.outcomes import http_outcome

        def main(event):
            autokitteh.http_outcome(status_code=299, json={"cat": "meow"})
            http_outcome(200, "body", headers={"X": "y"}, more=True)
            http_outcome(body=b"\\xff")
            autokitteh.outcome([1, 2], event_id="evt_2")
            try:
                http_outcome(body="a", json=1)
            except ValueError:
                return "refused"
        """,
        answers={"outcome": given.append},
        is_durable=is_durable,
    )

    assert harness.run(made).result == "refused"
    assert [one["value"] for one in given] == [
        {"status_code": 299, "headers": {}, "more": False, "json": {"cat": "meow"}},
        {"status_code": 200, "headers": {"X": "y"}, "more": True, "body": "body"},
        {"status_code": 200, "headers": {}, "more": False, "body_base64": "/w=="},
        [1, 2],
    ]
    assert given[-1]["event_id"] == "evt_2"


@EACH_MODE
def test_44_addresses_of_triggers_are_in_the_environment(harness, program, is_durable):
    """From the package and from its module; a missing one is a `ValueError`."""
    made = program(
        """
        import autokitteh
        from autokitteh.triggers import get_webhook_url

        def main(event):
            try:
                autokitteh.get_webhook_url("none")
            except ValueError as error:
                return [get_webhook_url("hook"), str(error)]
        """,
        env={"hook__webhook_url": "http://localhost:9980/webhooks/abc"},
        is_durable=is_durable,
    )

    assert harness.run(made).result == [
        "http://localhost:9980/webhooks/abc",
        "Webhook URL not found for trigger 'none'",
    ]


def test_errors_are_the_packages_own(harness, program):
    """`start` and `refresh_oauth` raise what a program of AutoKitteh catches; the rest of the tree is there."""

    def refused(_args):
        raise CallError("TokenRefused", "connect the account again")

    def refuse_start(args):
        if args["loc"] == "nowhere.py:g":
            raise CallError("ValueError", "start: there is no 'nowhere.py:g'")
        refused(args)

    def missing(_args):
        raise CallError("KeyError", "the store has no value for 'k' to publish")

    made = program(
        """
        import autokitteh
        from autokitteh import errors
        from autokitteh.connections import check_connection_name, refresh_oauth

        def main(event):
            found = []
            for call in (
                lambda: autokitteh.start("nowhere.py:f"),
                lambda: autokitteh.start("nowhere.py:g"),
                lambda: autokitteh.publish_value("k"),
                lambda: refresh_oauth("hubspot", "hub"),
                lambda: autokitteh.connections.encode_jwt({"iat": 1}, "gh", "RS256"),
                lambda: check_connection_name("no-name"),
            ):
                try:
                    call()
                except Exception as error:
                    found.append([type(error).__name__, isinstance(error, errors.AutoKittehError), str(error)])
            return found
        """,
        answers={"start": refuse_start, "token": refused, "store.publish": missing},
        connections=["hub"],
    )

    assert harness.run(made).result == [
        ["AutoKittehError", True, "start: connect the account again"],
        ["AutoKittehError", True, "start: there is no 'nowhere.py:g'"],
        ["AutoKittehError", True, "the store has no value for 'k' to publish"],
        ["OAuthRefreshError", True, "OAuth refresh failed for 'hub' connection: connect the account again"],
        [
            "AutoKittehError",
            True,
            "connection 'gh' has no private key to sign with; set it up with auth mode app",
        ],
        ["ValueError", False, "Invalid AutoKitteh connection name: 'no-name'"],
    ]


@EACH_MODE
def test_79_packages_are_not_installed_while_a_session_runs(harness, program, is_durable):
    """What is there is imported; what is not belongs into `requirements.txt`."""
    made = program(
        """
        from autokitteh import packages

        def main(event):
            packages.install("requests", ["PyYAML ~= 6.0", "yaml"])
            try:
                packages.install("no_such_package == 1.0")
            except RuntimeError as error:
                return str(error)
        """,
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert "to requirements.txt and deploy again" in outcome.result
    assert outcome.journal.steps() == []


def test_connections_are_there_without_an_import(harness, program):
    """The original's runner has imported that module, and patched it."""
    made = program(
        """
        import autokitteh

        def main(event):
            try:
                autokitteh.connections.check_connection_name("a b")
            except ValueError as error:
                return str(error)
        """
    )

    assert "a b" in harness.run(made).result


def test_77_the_sdk_is_the_one_that_the_tests_are_for():
    """Another version may have functions that nobody has looked at."""
    from importlib.metadata import version

    assert version("autokitteh") == "0.8.3"
    assert {module.name for module in pkgutil.iter_modules(autokitteh.__path__)} >= {
        "events",
        "signals",
        "store",
    }
