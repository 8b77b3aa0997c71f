"""What the pages of an authorisation show: values for `web`, which makes the HTML of them.

No secret is part of them but what the page itself must carry (ticket, address, cookie), and none of a repr.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ninelives_server.integrations.contract import Hint


@dataclass(frozen=True, slots=True, kw_only=True)
class StartLink:
    """Where a browser begins, for whoever asked; good for ten minutes and one start.

    Attributes:
        url: Holds the ticket.
        code: What the page asks for where the browser holds no login of the same user.
    """

    flow_id: str
    url: str = field(repr=False)
    ticket: str = field(repr=False)
    code: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPage:
    """What GET /oauth/start/{connection} shows, with one button that posts to the same address.

    Attributes:
        needs_code: Show an input `code` for the short code; else only the button.
        error: Why the last POST was refused; empty at first.
        callback_url: As it will be sent.
        host: Of the service, where the button leads.
    """

    flow_id: str
    connection_id: str
    connection_name: str
    project_name: str
    user_name: str
    integration: str
    integration_title: str
    host: str
    callback_url: str
    needs_code: bool
    expires_at: datetime
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What POST /oauth/start/{connection} answers: a 200 page with a link and a meta refresh, and a cookie.

    The page that stays open beside the service's own pages (`/oauth/wait/{flow_id}`, say) needs the same
    facts; `Flows.waiting` returns them again for the cookie's holder, without `authorize_url`.

    Attributes:
        authorize_url: At the service; empty where the page is shown again.
        cookie_name: Own to the flow, so that two flows of one browser do not disturb each other.
        cookie_value: Set with HttpOnly, SameSite=Lax, `Secure` as told, the path and max age here; empty
            where the cookie is set already.
        callback_url: Exactly as sent, for comparing it with what the app has.
        hints: Likely causes of what only the service's own page shows, likeliest first.
        settings: Of the connection, not secret, for comparing (client id, environment).
    """

    flow_id: str
    connection_id: str
    connection_name: str
    project_id: str
    integration: str
    integration_title: str
    authorize_url: str = field(repr=False)
    host: str
    callback_url: str
    cookie_name: str
    cookie_value: str = field(repr=False)
    cookie_path: str
    cookie_secure: bool
    cookie_max_age: int
    expires_at: datetime
    hints: tuple[Hint, ...]
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What the redirect handler answers: 303 to `/oauth/outcome/{page}`, which has no query.

    Attributes:
        page: A flow id, or the name of an outcome that belongs to no flow of this browser.
    """

    page: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an authorisation ended, for people. Safe to show to anyone who may see the page.

    Attributes:
        ok: Whether the connection may be used now.
        pending: The flow is still under way: show `message` and a link to load the page again.
        next_steps: What to do, in order.
        provider_words: What the service said, verbatim; empty where it said nothing.
        connection_id: Empty where the outcome belongs to no flow of this browser, as `flow_id`.
        can_retry: POST to `Flows.retry` may start again from here, with everything that was entered kept.
        facts: Label and value of what is worth knowing: organisation, user, instance, scopes.
        return_to: Where the person came from: a path below the pages' address, or empty.
    """

    title: str
    ok: bool
    message: str
    next_steps: tuple[str, ...] = ()
    provider_words: str = ""
    pending: bool = False
    flow_id: str = ""
    connection_id: str = ""
    connection_name: str = ""
    project_id: str = ""
    integration: str = ""
    callback_url: str = ""
    can_retry: bool = False
    facts: tuple[tuple[str, str], ...] = ()
    return_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStatus:
    """How an authorisation fares, for whoever began it (API, CLI, the form's live part).

    Attributes:
        status: `ticketed` (link not opened), `started` (at the service), `redirected` (being saved), `done`,
            `failed`, `expired`.
        outcome: `{title, ok, message, next_steps, provider_words}` once it ended.
    """

    flow_id: str
    connection_id: str
    status: str
    outcome: dict[str, object] | None
    expires_at: datetime
