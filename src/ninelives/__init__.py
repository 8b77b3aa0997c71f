"""What workflow code imports.

    import ninelives

    @ninelives.step(retry=3)
    def charge(customer): ...

    def on_lead(event):
        charge(event.data.customer)
        ninelives.sleep(3600)

In a durable session every call that does I/O is a step of its own accord; the decorators say more. This
package needs the standard library only. docs/reference/sdk.md describes every name.
"""

from ninelives.answers import http_outcome, outcome, restart, start
from ninelives.connections import refresh_oauth
from ninelives.errors import (
    ConnectionNotReady,
    Divergence,
    IteratorChanged,
    LiveValueLost,
    MissingRequirement,
    NinelivesError,
    NoSuchSource,
    NotInSession,
    NotSupported,
    Restarting,
    SessionEnded,
    StepInterrupted,
    Stopped,
    TokenRefused,
)
from ninelives.event import AttrDict, Event
from ninelives.host import Retry
from ninelives.marks import inhibit, live, register_no_activity, step
from ninelives.messages import (
    Signal,
    next_event,
    next_event_async,
    next_signal,
    next_signal_async,
    signal,
    subscribe,
    unsubscribe,
)
from ninelives.values import (
    add_value,
    check_and_set_value,
    del_value,
    get_value,
    list_keys,
    publish_value,
    set_value,
    store,
    unpublish_value,
)
from ninelives.waits import sleep

__all__ = [
    "AttrDict",
    "ConnectionNotReady",
    "Divergence",
    "Event",
    "IteratorChanged",
    "LiveValueLost",
    "MissingRequirement",
    "NinelivesError",
    "NoSuchSource",
    "NotInSession",
    "NotSupported",
    "Restarting",
    "Retry",
    "SessionEnded",
    "Signal",
    "StepInterrupted",
    "Stopped",
    "TokenRefused",
    "add_value",
    "check_and_set_value",
    "del_value",
    "get_value",
    "http_outcome",
    "inhibit",
    "list_keys",
    "live",
    "next_event",
    "next_event_async",
    "next_signal",
    "next_signal_async",
    "outcome",
    "publish_value",
    "refresh_oauth",
    "register_no_activity",
    "restart",
    "set_value",
    "signal",
    "sleep",
    "start",
    "step",
    "store",
    "subscribe",
    "unpublish_value",
    "unsubscribe",
]
