"""A project's store, in memory: what the server does for sessions, for programs that run without one."""

from collections.abc import Mapping
from typing import Any

from ninelives_server.testing.session_harness import Answers, CallError

Args = Mapping[str, Any]


class Values:
    """Key-value data with the server's rules."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.published: set[str] = set()

    def answers(self) -> Answers:
        """Return the calls of the store."""
        return {
            "store.get": lambda args: self.data.get(args["key"]),
            "store.set": lambda args: self.data.__setitem__(args["key"], args["value"]),
            "store.del": lambda args: self.data.pop(args["key"], None) and None,
            "store.add": self._add,
            "store.check_and_set": self._check_and_set,
            "store.list": lambda _args: sorted(self.data),
            "store.publish": self._publish,
            "store.unpublish": lambda args: self.published.discard(args["key"]),
        }

    def _add(self, args: Args) -> Any:
        self.data[args["key"]] = self.data.get(args["key"], 0) + args["value"]
        return self.data[args["key"]]

    def _check_and_set(self, args: Args) -> bool:
        if self.data.get(args["key"]) != args["expected"]:
            return False
        self.data[args["key"]] = args["value"]
        return True

    def _publish(self, args: Args) -> None:
        if args["key"] not in self.data:
            raise CallError("KeyError", f"the store has no value for {args['key']!r} to publish")
        self.published.add(args["key"])
