"""The browser's side of an authorisation: start page, the page beside the provider, redirect, outcome.

Everything that decides is in `connections.flows`; nobody needs a login here, because these addresses may be
on another host than the pages. No page has a query after the redirect, and none sends a referrer.
"""

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import RedirectResponse, Response

from ninelives_server.connections.flows import Outcome, Started, StartPage
from ninelives_server.web import live
from ninelives_server.web.guards import Anybody, PageRoute, form_token, keep_form_token
from ninelives_server.web.pages import View

router = APIRouter(prefix="/oauth", route_class=PageRoute, include_in_schema=False)

_NO_REFERRER = "no-referrer"


def _back(view: View, outcome: Outcome) -> str:
    """Return where a person goes on: where they came from, else the connection, else the projects.

    Absolute, because the pages may be on another host than the callbacks.
    """
    target = outcome.return_to
    if not target.startswith("/") or target.startswith(("//", "/\\")):
        target = f"/connections/{outcome.connection_id}" if outcome.connection_id else "/"
    return view.settings.pages_url + target


def _start_page(view: View, page: StartPage, ticket: str) -> Response:
    proof = form_token(view.request)
    answer = view.page(
        "oauth_start.html",
        status=422 if page.error else 200,
        referrer=_NO_REFERRER,
        page=page,
        ticket=ticket,
        form_token=proof,
    )
    keep_form_token(answer, view, proof)
    return answer


def _outcome_page(view: View, outcome: Outcome) -> Response:
    status = 200 if outcome.ok or outcome.pending or outcome.flow_id else 410
    return view.page(
        "oauth_outcome.html",
        status=status,
        referrer=_NO_REFERRER,
        outcome=outcome,
        back=_back(view, outcome),
        form_token=form_token(view.request),
    )


def _keep_flow(answer: Response, started: Started) -> None:
    """Give the browser the cookie by which the redirect knows it."""
    answer.set_cookie(
        started.cookie_name,
        started.cookie_value,
        max_age=started.cookie_max_age,
        path=started.cookie_path,
        secure=started.cookie_secure,
        httponly=True,
        samesite="lax",
    )


def _leaving(view: View, started: Started) -> Response:
    """Lead to the provider by a page: a redirect after a form post would be bound by `form-action`."""
    answer = view.page("oauth_leave.html", referrer=_NO_REFERRER, started=started)
    _keep_flow(answer, started)
    return answer


@router.get("/start/{connection_id}")
async def start_page(view: Anybody, connection_id: str, ticket: str = "") -> Response:
    """Show who authorises what for whom, with a button; nothing is used up by looking."""
    page = await view.services.flows.show_start(connection_id, ticket, view.visitor)
    if isinstance(page, Outcome):
        return _outcome_page(view, page)
    return _start_page(view, page, ticket)


@router.post("/start/{connection_id}")
async def start(
    view: Anybody,
    connection_id: str,
    ticket: Annotated[str, Form()] = "",
    code: Annotated[str | None, Form()] = None,
) -> Response:
    """Use the ticket up and lead to the provider."""
    found = await view.services.flows.start(connection_id, ticket, code, view.visitor)
    if isinstance(found, Outcome):
        return _outcome_page(view, found)
    if isinstance(found, StartPage):
        return _start_page(view, found, ticket)
    return _leaving(view, found)


@router.get("/redirect/{integration}")
async def redirect(view: Anybody, integration: str) -> Response:
    """Take what the provider sends back, and lead to a page without a query."""
    query = dict(view.request.query_params)
    finished = await view.services.flows.finish(integration, query, view.request.cookies)
    answer = RedirectResponse(view.at.url("oauth", "outcome", finished.page), status_code=303)
    answer.headers["Referrer-Policy"] = _NO_REFERRER
    answer.headers["Cache-Control"] = "no-store"
    return answer


@router.get("/outcome/{page}")
async def outcome(view: Anybody, page: str) -> Response:
    """Show how an authorisation ended; loading it again shows the same."""
    return _outcome_page(view, await view.services.flows.outcome(page, view.request.cookies))


def _sent(view: View, started: Started) -> dict[str, str]:
    """Return what was entered and is no secret, under the labels of the form."""
    labels = {
        field.name: field.label
        for mode in view.services.registry.get(started.integration).auth_modes
        for field in mode.fields
    }
    return {labels.get(name, name): value for name, value in started.settings.items()}


async def _waiting(view: View, flow_id: str) -> tuple[Started | Outcome, live.Part]:
    found = await view.services.flows.waiting(flow_id, view.request.cookies)
    if isinstance(found, Outcome):
        context = {"outcome": found, "back": _back(view, found), "form_token": form_token(view.request)}
        return found, live.Part(view.fragment("_outcome.html", context), is_over=not found.pending)
    return found, live.Part(view.fragment("_waiting.html", {"started": found, "sent": _sent(view, found)}))


@router.get("/wait/{flow_id}")
async def wait_page(view: Anybody, flow_id: str) -> Response:
    """Stay beside the provider's pages: what it shows there and never sends back is explained here."""
    found, _ = await _waiting(view, flow_id)
    if isinstance(found, Outcome):
        return _outcome_page(view, found)
    proof = form_token(view.request)
    answer = view.page("oauth_wait.html", referrer=_NO_REFERRER, started=found, sent=_sent(view, found))
    keep_form_token(answer, view, proof)
    return answer


@router.get("/wait/{flow_id}/live")
async def wait_live(view: Anybody, flow_id: str) -> Response:
    """Say so as soon as the authorisation has ended."""

    async def render() -> live.Part:
        return (await _waiting(view, flow_id))[1]

    return live.stream(view, [("flow", flow_id)], render)


@router.post("/retry/{flow_id}")
async def retry(view: Anybody, flow_id: str) -> Response:
    """Begin again with everything that was entered kept."""
    found = await view.services.flows.retry(flow_id, view.request.cookies)
    if isinstance(found, Outcome):
        return _outcome_page(view, found)
    return _leaving(view, found)
