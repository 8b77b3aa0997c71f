"""Objects of libraries whose methods change them: recorded while they can be."""

from textwrap import dedent

from ninelives_server.testing.session_harness import Journal

LINE = """
    import socket

    class Line:
        def __init__(self):
            self.name, self.end = "", None

        def rename(self, name):
            self.name = name

        def connect(self):
            self.end = socket.socketpair()

        def send(self, text):
            self.end[0].sendall(text.encode())
            return self.end[1].recv(99).decode() + self.name

        def close(self):
            self.end = None
"""


def test_an_object_whose_state_cannot_be_recorded_any_more_is_lost_with_it(harness, program, tmp_path):
    """It could be, until it was connected: after a crash it would not be what the code left."""
    made = program(
        """
        import sys
        sys.path.insert(0, LIBRARY)
        import lineslib
        import ninelives

        def main(event):
            line, found = lineslib.Line(), []
            line.rename("!")
            line.connect()
            try:
                found.append(line.send("one"))
            except ninelives.LiveValueLost as error:
                found.append(str(error))
            line.close()
            line.connect()
            return [*found, line.send("two")]
        """.replace("LIBRARY", repr(str(tmp_path / "library")))
    )
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "lineslib.py").write_text(dedent(LINE))

    whole, journal = harness.run(made), Journal()
    harness.run(made, journal, kill_after=3)
    again = harness.run(made, journal)

    assert whole.result == harness.run(made, whole.journal.copy()).result == ["one!", "two!"]
    assert again.result[1] == "two!"
    assert "step lineslib.Line.connect (record 3) left its lineslib.Line in a state" in again.result[0]


CLIENT = """
    class Resource:
        def __init__(self, name):
            self.name, self.sent = name, 0

        def get(self, item):
            self.sent += 1
            self.newest = lambda: item
            return f"{self.name} {item}"

    def build(name):
        return Resource(name)
"""


def test_a_client_is_made_again_whatever_it_has_got_to_know(harness, program, tmp_path):
    """As those of Google's library, which keep a token once they have asked: nothing of that is the code's."""
    made = program(
        """
        import sys
        sys.path.insert(0, LIBRARY)
        from googleapiclient.discovery import build

        def main(event):
            drive = build("drive")
            return [drive.get(item) for item in ("folder", "file", "page")]
        """.replace("LIBRARY", repr(str(tmp_path / "library")))
    )
    (tmp_path / "library" / "googleapiclient").mkdir(parents=True)
    (tmp_path / "library" / "googleapiclient" / "__init__.py").touch()
    (tmp_path / "library" / "googleapiclient" / "discovery.py").write_text(dedent(CLIENT))

    whole = harness.crash_everywhere(made)

    assert whole.result == ["drive folder", "drive file", "drive page"]


def test_a_connection_in_the_middle_of_a_request_is_lost_and_one_between_them_is_not(
    harness, program, outside
):
    """The answer would never come: a connection that begins anew knows nothing of the request."""
    made = program(
        """
        import http.client, json

        def main(event):
            line = http.client.HTTPConnection(event.data.url.removeprefix("http://"))
            found = []
            for page in (1, 2):
                line.request("GET", f"/orders?page={page}")
                found.append(json.loads(line.getresponse().read())["next"])
            line.close()
            return found
        """,
        data={"url": outside.url},
    )

    whole, within, between = harness.run(made), Journal(), Journal()
    harness.run(made, within, kill_after=2)
    harness.run(
        made, between, kill_after=whole.journal.steps().index("http.client.HTTPConnection.request", 2)
    )

    assert "HTTPConnection.request (record 2) left its" in harness.run(made, within).error["message"]
    assert harness.run(made, between).result == whole.result == [2, 3]


def test_arguments_that_hold_data_are_changed_by_a_replay_too(harness, program):
    """Objects of the standard library among the arguments of a step, in place; so are those of a method's step."""
    made = program(
        """
        import argparse
        import collections
        import types
        import xml.etree.ElementTree as ET
        from email.message import EmailMessage

        import ninelives

        @ninelives.step
        def fill(space, rows, *, options, mail):
            space.found = [1]
            rows.append(2)
            options.n = 3
            mail["Subject"] = "four"
            return rows[0]

        @ninelives.step
        def leave(space, seen):
            seen.append(len(vars(space)))

        @ninelives.step
        def fail(tree):
            ET.SubElement(tree, "leaf")
            raise ValueError("after the change")

        def main(event):
            space, rows = types.SimpleNamespace(), collections.UserList([1])
            options, mail, tree = argparse.Namespace(), EmailMessage(), ET.Element("tree")
            kept, seen = rows, []
            fill(space, rows, options=options, mail=mail)
            leave(space, seen)
            try:
                fail(tree)
            except ValueError:
                pass
            return [space.found, list(kept), options.n, mail["Subject"], len(tree), seen]
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == [[1], [1, 2], 3, "four", 1, [1]]


def test_buffers_and_arrays_that_a_step_fills_are_filled_by_a_replay_too(harness, program):
    """What they hold and where they stand, of classes of the project as well."""
    made = program(
        """
        import array
        import io

        import ninelives

        class Out(io.StringIO):
            pass

        @ninelives.step
        def fill(text, numbers, *, data):
            text.write("more")
            numbers.append(5)
            data.write(b"xyz")
            data.seek(1)
            return len(numbers)

        def main(event):
            text, own, data, numbers = io.StringIO(), Out("old"), io.BytesIO(b"0123"), array.array("d", [1.5])
            fill(text, numbers, data=data)
            print(data.tell())
            fill(text, numbers, data=data)
            fill(own, numbers, data=data)
            return [text.getvalue(), text.tell(), own.getvalue(), data.getvalue().decode(), list(numbers)]
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == ["moremore", 8, "more", "xxyz", [1.5, 5, 5, 5]]


def test_of_an_argument_with_a_state_of_its_own_that_is_changed(harness, program):
    """What its pickle leaves out, such as a lock or the connections of an adapter, stays as it is."""
    made = program(
        """
        import threading

        import ninelives
        import requests
        from requests.adapters import HTTPAdapter

        class Counter:
            def __init__(self):
                self.n, self.lock, self.seen = 0, threading.Lock(), []

            def __getstate__(self):
                return {name: value for name, value in vars(self).items() if name != "lock"}

            def __setstate__(self, state):
                vars(self).update(state, lock=threading.Lock())

        class Retrying(HTTPAdapter):
            pass

        class Session(requests.Session):
            def __init__(self):
                super().__init__()
                self.mount("https://", Retrying(max_retries=2))

        @ninelives.step
        def count(counter):
            with counter.lock:
                counter.n += 1
                counter.seen.append(counter.n)

        def main(event):
            counter, session = Counter(), Session()
            seen, lock = counter.seen, counter.lock
            count(counter)
            session.mount("https://other", HTTPAdapter(max_retries=3))
            retries = [session.get_adapter(url).max_retries.total for url in ("https://x", "https://other/")]
            return [counter.n, seen, counter.lock is lock, retries, hasattr(session.get_adapter("https://x"), "poolmanager")]
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == [1, [1], True, [2, 3], True]


def test_a_connection_of_sqlite_keeps_the_functions_that_it_was_given(harness, program, tmp_path):
    """They are the code's: a connection that is made again is given them again."""
    made = program(
        """
        import sqlite3

        def main(event):
            db = sqlite3.connect(event.data.file, isolation_level=None)
            db.create_function("twice", 1, lambda n: n * 2)
            db.create_collation("backwards", lambda a, b: (a < b) - (a > b))
            first = db.execute("select twice(4)").fetchone()[0]
            db.execute("create table if not exists t (a text)")
            db.execute("insert into t values (twice(3)), ('9')")
            found = db.execute("select distinct a from t order by a collate backwards").fetchall()
            return [first, found]
        """,
        data={"file": str(tmp_path / "test.db")},
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == [8, [["9"], ["6"]]]


def test_a_container_of_the_project_keeps_the_attributes_that_a_step_gave_it(harness, program):
    """Beside its items, in place."""
    made = program(
        """
        import ninelives

        class Bag(dict):
            def __init__(self, **items):
                super().__init__(items)
                self.log = []

        class Names(list):
            pass

        @ninelives.step
        def fill(bag, *, names):
            bag["b"] = 2
            bag.log.append("b")
            bag.is_full = True
            names.append("ada")
            names.of = "people"

        def main(event):
            bag, names = Bag(a=1), Names()
            fill(bag, names=names)
            return [dict(bag), bag.log, bag.is_full, names, names.of]
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == [{"a": 1, "b": 2}, ["b"], True, ["ada"], "people"]


RECORDS = """
    from dataclasses import dataclass, field

    @dataclass(init=False)
    class Agent:
        name: str

        def __init__(self, name):
            self.name = name
            self.hook = lambda: None

        def ask(self, what):
            self.newest = what
            return f"{self.name}: {what}"

    @dataclass
    class Cart:
        items: list = field(default_factory=list)
        total: int = 0

    def fill(cart, item):
        cart.items.append(item)
        cart.total += len(item)
        return len(cart.items)
"""


def test_a_dataclass_of_a_library_that_no_pickle_takes_does_not_count_by_its_fields(
    harness, program, tmp_path
):
    """What a step changes of it cannot be made again, and is not the code's."""
    made = program(
        """
        import sys
        sys.path.insert(0, LIBRARY)
        import recordslib

        agent = recordslib.Agent("clerk")

        def main(event):
            return [agent.ask(what) for what in ("one", "two", "three")]
        """.replace("LIBRARY", repr(str(tmp_path / "library")))
    )
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "recordslib.py").write_text(dedent(RECORDS))

    assert harness.crash_everywhere(made).result == ["clerk: one", "clerk: two", "clerk: three"]


def test_a_dataclass_of_a_library_that_a_step_is_given_is_changed_by_a_replay_too(harness, program, tmp_path):
    made = program(
        """
        import sys
        sys.path.insert(0, LIBRARY)
        import recordslib

        def main(event):
            cart = recordslib.Cart()
            same, found = cart, [recordslib.fill(cart, item) for item in ("pear", "fig")]
            return [found, cart.items, cart.total, same is cart]
        """.replace("LIBRARY", repr(str(tmp_path / "library")))
    )
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "recordslib.py").write_text(dedent(RECORDS))

    assert harness.crash_everywhere(made).result == [[1, 2], ["pear", "fig"], 7, True]


BOXES = """
    def pack():
        class Box:
            def __init__(self):
                self.parts = [lambda: 1, None]

        return Box()
"""


def test_an_attribute_of_a_lost_value_that_is_gone_over_is_said_to_be_lost(harness, program, tmp_path):
    """Where nobody knows its class it is taken for a method, which nobody can go over."""
    made = program(
        """
        import sys
        sys.path.insert(0, LIBRARY)
        import boxlib
        import ninelives

        @ninelives.step
        def work():
            return 1

        def go_over(box):
            for part in box.parts:
                pass

        def main(event):
            box, found = boxlib.pack(), [work()]
            for look in (go_over, lambda box: box.parts[1], lambda box: None in box.parts):
                try:
                    look(box)
                    found.append("there")
                except ninelives.LiveValueLost as error:
                    found.append("boxlib.pack" in str(error) and "lost")
            return found
        """.replace("LIBRARY", repr(str(tmp_path / "library")))
    )
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "boxlib.py").write_text(dedent(BOXES))

    whole, journal = harness.run(made), Journal()
    harness.run(made, journal, kill_after=2)

    assert whole.result == [1, "there", "there", "there"]
    assert harness.run(made, journal).result == [1, "lost", "lost", "lost"]
