"""A REST request on its way through the API: who asks, in which version, as part of which transaction."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ninelives_server.testing.fake_salesforce.faults import RestError, not_found
from ninelives_server.testing.fake_salesforce.http import Call
from ninelives_server.testing.fake_salesforce.org import Org
from ninelives_server.testing.fake_salesforce.records import Unit
from ninelives_server.testing.fake_salesforce.schema.fields import SObject

_CLIENT = re.compile(r"client=([^;,]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, or one part of a composite one.

    Attributes:
        version: Such as `67.0`.
        unit: The transaction that this request is a part of; `None` gives it one of its own.
    """

    org: Org
    call: Call
    user_id: str
    version: str
    unit: Unit | None = None

    @property
    def base(self) -> str:
        """Return the path of this version, such as `/services/data/v67.0`."""
        return f"/services/data/v{self.version}"

    @property
    def origin(self) -> str:
        """Return what change events say about where the change came from."""
        match = _CLIENT.search(self.call.header("sforce-call-options"))
        client = f";client={match.group(1).strip()}" if match else ""
        return f"com/salesforce/api/rest/{self.version}{client}"

    def json(self) -> Any:
        """Return the body.

        Raises:
            RestError: It is no JSON.
        """
        try:
            return json.loads(self.call.body or b"{}")
        except ValueError as error:
            raise RestError(400, "JSON_PARSER_ERROR", f"Unexpected input: {error}") from error

    def record(self) -> dict[str, Any]:
        """Return the body where it must be one record.

        Raises:
            RestError: It is no JSON, or not an object.
        """
        document = self.json()
        if not isinstance(document, dict):
            raise RestError(400, "JSON_PARSER_ERROR", "The HTTP entity body must be one JSON object")
        return document

    def sobject(self, name: str) -> SObject:
        """Return an object by its name in the path.

        Raises:
            RestError: There is none.
        """
        found = self.org.catalog.find(name)
        if found is None:
            raise not_found()
        return found

    @contextmanager
    def writing(self) -> Iterator[Unit]:
        """Change records: in the transaction that this request is a part of, or in its own."""
        if self.unit is None:
            with self.org.writing(self.user_id, self.origin) as unit:
                yield unit
            return
        mark = self.unit.mark()
        try:
            yield self.unit
        except BaseException:
            self.unit.back_to(mark)
            raise

    def part(self, call: Call, unit: Unit | None) -> Self:
        """Return a part of this request, as composite requests have."""
        return replace(self, call=call, unit=unit)


@dataclass(slots=True, kw_only=True)
class Answer:
    """Status, JSON document (`None` for no body) and headers."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Request, Mapping[str, str]], Answer]
