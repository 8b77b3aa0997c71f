"""Values of AutoKitteh projects: what the store, signals, answers and children keep of them."""

from doubles import Values


def test_76_values_of_the_store_and_of_signals_come_back_as_what_they_were(harness, program):
    """
    Bytes, sets, times, spans and keys of other types too; tuples as lists, objects as what has attributes.
    What has no parts is refused with its type.
    """
    values = Values()
    made = program(
        """
        import collections, dataclasses, datetime, decimal, enum, pathlib, threading, uuid
        import autokitteh

        class Colour(enum.Enum):
            RED = "r"

        @dataclasses.dataclass
        class Order:
            id: int
            lines: list

        class Slotted:
            __slots__ = ("a",)

        Pair = collections.namedtuple("Pair", "x y")

        def main(event):
            slotted = Slotted()
            slotted.a = {1}
            noon = datetime.datetime(2026, 1, 2, 12)
            zone = datetime.timezone(datetime.timedelta(hours=2))
            given = {
                "bytes": b"\\xff", "set": {1, "a"}, "span": datetime.timedelta(seconds=1.5),
                "naive": noon, "aware": noon.replace(tzinfo=zone), "keys": {1: "one", None: 2},
                "tuple": (1, (2,)), "big": 2**100, "tag": {"$bytes": "AA=="}, "inf": float("inf"),
                "day": noon.date(), "hour": noon.time(), "sum": decimal.Decimal("1.50"), "id": uuid.UUID(int=5),
            }
            found = {}
            for name, value in given.items():
                autokitteh.set_value(name, value)
                found[name] = autokitteh.get_value(name)
            utc = datetime.UTC
            names = "bytes set span keys big tag inf day hour sum id"
            same = [found[name] == given[name] for name in names.split()]
            assert all(same), same
            assert found["naive"] == noon.replace(tzinfo=utc) and found["aware"].tzinfo == utc
            assert found["aware"] == given["aware"] and found["tuple"] == [1, [2]]
            autokitteh.set_value("words", [Colour.RED, pathlib.PurePosixPath("a/b")])
            assert autokitteh.get_value("words") == ["r", "a/b"]
            autokitteh.store["order"] = Order(7, [Pair(1, b"x"), slotted])
            order = autokitteh.store["order"]
            assert (order.id, order.lines[0].y, order.lines[1].a) == (7, b"x", {1}), order
            assert autokitteh.check_and_set_value("set", {"a", 1}, {2}) and autokitteh.get_value("set") == {2}
            assert autokitteh.mutate_value("set", "get") == {2}
            errors = []
            endless = []
            endless.append(endless)
            for value in (threading.Lock(), main, Order, endless):
                try:
                    autokitteh.set_value("bad", value)
                except (TypeError, ValueError) as error:
                    errors.append(str(error))
            return errors
        """,
        answers=values.answers(),
    )

    refused = harness.run(made).result

    assert [text.partition(";")[0] for text in refused] == [
        "a value of type lock cannot be kept",
        "a value of type function cannot be kept",
        "a value of type type cannot be kept",
        "a value of type list contains itself",
    ]


def test_answers_may_hold_what_json_does_not(harness, program):
    """Dates as text, sets as lists, objects by their attributes, and bytes as a body."""
    said = []
    made = program(
        """
        import dataclasses, datetime
        from autokitteh import http_outcome, outcome

        @dataclasses.dataclass
        class Order:
            at: datetime.datetime
            tags: set

        def main(event):
            http_outcome(json=Order(datetime.datetime(2026, 1, 2), {"b", "a"}))
            http_outcome(body=[datetime.timedelta(seconds=2)])
            outcome({"status_code": 201, "body": b"raw"})
        """,
        answers={"outcome": lambda args: said.append(args["value"])},
    )

    assert harness.run(made).state == "completed"

    assert said[0]["json"] == {"at": "2026-01-02T00:00:00", "tags": ["a", "b"]}
    assert said[1]["body"] == [2.0]
    assert said[2] == {"status_code": 201, "body_base64": "cmF3"}


def test_data_of_a_child_that_is_no_json_is_a_value_error(harness, program):
    """From the package and from its module, as in the original."""
    made = program(
        """
        import autokitteh
        from autokitteh.events import start

        def main(event):
            found = []
            for function in autokitteh.start, start:
                try:
                    function("child.py:main", {"thing": object()})
                except ValueError as error:
                    found.append("JSON" in str(error))
            return found
        """,
    )

    assert harness.run(made).result == [True, True]
