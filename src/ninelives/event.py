"""What an entry point is called with."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


class AttrDict(dict[str, Any]):
    """A dictionary whose keys can be read as attributes too.

    Nested dictionaries are read as `AttrDict`, and stay the ones inside: what is written into one is there.

    >>> data = AttrDict({"lead": {"name": "Ada"}})
    >>> data.lead.name, data["lead"]["name"]
    ('Ada', 'Ada')
    """

    def __getattr__(self, name: str) -> Any:
        try:
            value = self[name]
        except KeyError:
            raise AttributeError(name) from None
        if type(value) is dict:
            value = self[name] = AttrDict(value)
        return value

    def __setattr__(self, name: str, value: object) -> None:
        raise NotImplementedError(f"write data[{name!r}] = … instead of data.{name} = …")

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self.keys()]


def attr_dict(value: Any) -> Any:
    """Return JSON data with every object in it as an `AttrDict`, to any depth."""
    if isinstance(value, dict):
        return AttrDict({key: attr_dict(item) for key, item in value.items()})
    if isinstance(value, list):
        return [attr_dict(item) for item in value]
    return value


@dataclass
class Event:
    """One thing that happened.

    Attributes:
        data: What it carries.
        event_id: `None` where the session was started by hand.
        event_type: `None` where the session was started by hand.
        session_id: Of the session that this event started.
    """

    data: AttrDict
    event_id: str | None = None
    event_type: str | None = None
    session_id: str | None = None

    def __getitem__(self, name: str) -> Any:
        """Return an attribute by name, so that `event["data"]` works as well."""
        if name not in self.__dataclass_fields__:
            raise KeyError(name)
        return getattr(self, name)
