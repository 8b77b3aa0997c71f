"""The control methods over HTTP: `GET` or `POST /__control__/METHOD`, arguments and result as JSON.

No credential is asked for; instead it answers only on loopback, only JSON, and never to a browser's page
of another origin.
"""

import inspect
import ipaddress
import json
from collections.abc import Mapping
from typing import Any

from ninelives_server.testing.fake_salesforce.control.desk import Desk
from ninelives_server.testing.fake_salesforce.faults import RestError
from ninelives_server.testing.fake_salesforce.http import Call, Reply, json_reply

PREFIX = "/__control__"


def serve(desk: Desk, call: Call) -> Reply:
    """Answer a control request. It may block for as long as the request asks to wait."""
    if not _is_loopback(call.client) or call.header("origin"):
        return json_reply({"error": "control answers programs on this machine only"}, status=403)
    name = call.path.removeprefix(PREFIX).strip("/")
    if not name:
        return json_reply({"methods": sorted(_methods())})
    if name not in _methods():
        return json_reply({"error": f"no method {name!r}; there are {sorted(_methods())}"}, status=404)
    try:
        result = getattr(desk, name)(**_arguments(call))
    except RestError as error:
        return json_reply({"error": str(error)}, status=400)
    except (ValueError, TypeError, KeyError) as error:
        return json_reply({"error": str(error)}, status=400)
    return json_reply(result)


def _methods() -> Mapping[str, Any]:
    return {n: f for n, f in inspect.getmembers(Desk, inspect.isfunction) if not n.startswith("_")}


def _is_loopback(client: str) -> bool:
    try:
        return ipaddress.ip_address(client).is_loopback
    except ValueError:
        return False


def _arguments(call: Call) -> dict[str, Any]:
    given = {name: _parsed(value) for name, value in call.query.items()}
    if call.body:
        if "json" not in call.header("content-type"):
            raise ValueError("send arguments as JSON, with Content-Type: application/json")
        given.update(json.loads(call.body))
    return given


def _parsed(text: str) -> Any:
    """Read a query value: numbers, true, false, null and JSON as such, anything else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
