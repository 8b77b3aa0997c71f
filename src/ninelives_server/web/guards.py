"""What every page passes: who is it, does this form come from us, and errors as pages."""

import hmac
import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from ninelives_server import errors, log
from ninelives_server.services import Services
from ninelives_server.web import addresses
from ninelives_server.web.pages import View

logger = log.get(__name__)

#: The login; `api` reads it too, for requests that our own pages make.
LOGIN_COOKIE = "ninelives_session"
#: Where to go after the next login.
NEXT_COOKIE = "ninelives_next"
#: The other half of `form_token`.
FORM_COOKIE = "ninelives_form"

_STATUS: tuple[tuple[type[errors.NinelivesError], int], ...] = (
    (errors.Invalid, 422),
    (errors.NotFound, 404),
    (errors.Forbidden, 403),
    (errors.Unauthenticated, 401),
    (errors.Conflict, 409),
    (errors.TooLarge, 413),
    (errors.CallerError, 400),
    (errors.OwnerError, 409),
    (errors.Transient, 503),
    (errors.ProviderError, 502),
)
_TITLES = {
    403: "You may not do this",
    404: "There is no such page",
    405: "This page cannot be asked that way",
    409: "That does not fit",
    422: "Something is not right with the input",
    500: "Something went wrong on our side",
    502: "The service answered something unexpected",
    503: "Not possible right now",
}


def services_of(request: Request) -> Services:
    """Return the services of the application."""
    services: Services = request.app.state.services
    return services


async def visit(request: Request) -> View:
    """Return the view of a page that anybody may see."""
    services = services_of(request)
    visitor = await services.access.browser(request.cookies.get(LOGIN_COOKIE))
    return View(request=request, services=services, visitor=visitor)


async def member(request: Request) -> View:
    """Return the view of a page for those who are logged in.

    Raises:
        Unauthenticated: Nobody is; `PageRoute` leads to the login page.
    """
    view = await visit(request)
    _ = view.actor
    return view


Anybody = Annotated[View, Depends(visit)]
Member = Annotated[View, Depends(member)]


def form_token(request: Request) -> str:
    """Return the hidden value of a form on a page without referrer; `keep_form_token` sets its cookie."""
    return request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(16)


def keep_form_token(response: Response, view: View, token: str) -> None:
    """Give the browser the other half of a form token."""
    response.set_cookie(
        FORM_COOKIE, token, max_age=3600, path=view.at.cookie_path, secure=view.is_secure,
        httponly=True, samesite="strict",
    )  # fmt: skip


async def _is_own_form(request: Request) -> bool:
    """Say whether a page of ours sent this form.

    Browsers say so in `Sec-Fetch-Site`, though only to https and localhost, else in `Origin`; that is `null`
    where the page told them to send no referrer (Fetch, section 3.2), and then a cookie must match the form.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin", "null").lower()
    if origin != "null":
        known = set(addresses.own_origins(services_of(request).settings))
        return origin in known or urlsplit(origin).netloc == request.headers.get("host", "").lower()
    sent = str((await request.form()).get("form_token", ""))
    kept = request.cookies.get(FORM_COOKIE, "")
    return bool(kept) and hmac.compare_digest(sent.encode(), kept.encode())


async def _check_origin(request: Request) -> None:
    if request.method not in {"GET", "HEAD"} and not await _is_own_form(request):
        raise errors.Forbidden("this form was sent by another site; open the page here and try again")


def status_of(error: errors.NinelivesError) -> int:
    """Return the HTTP status for an error of ours."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


async def error_page(request: Request, status: int, message: str) -> Response:
    """Answer with a page that says what happened."""
    view = await visit(request)
    title = _TITLES.get(status, "That did not work")
    return view.page("error.html", status=status, title=title, message=message)


def _to_login(request: Request) -> Response:
    """Lead to the login page, and remember where the browser wanted to go."""
    settings = services_of(request).settings
    at = addresses.of(request, settings)
    answer = RedirectResponse(at.url("login"), status_code=303, headers={"Cache-Control": "no-store"})
    if request.method == "GET":
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        answer.set_cookie(
            NEXT_COOKIE, wanted[:500], max_age=600, path=at.cookie_path,
            secure=addresses.is_secure(request, settings), httponly=True, samesite="lax",
        )  # fmt: skip
    return answer


async def _checked(handler: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    try:
        await _check_origin(request)
        return await handler(request)
    except errors.Unauthenticated:
        return _to_login(request)
    except errors.NinelivesError as error:
        status = status_of(error)
        if status >= 500:
            logger.warning("page.failed", code=error.code, status=status, path=request.url.path)
        return await error_page(request, status, str(error))
    except RequestValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][-1])
        return await error_page(request, 422, f"{name}: {first['msg']}")
    except HTTPException as error:
        return await error_page(request, error.status_code, str(error.detail))
    except Exception:
        logger.exception("page.broke", path=request.url.path)
        request_id = getattr(request.state, "request_id", "")
        return await error_page(request, 500, f"the server's log says more; look for request {request_id}")


class PageRoute(APIRoute):
    """A route whose errors are pages and whose forms must be our own."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Wrap the handler that FastAPI makes."""
        handler = super().get_route_handler()

        async def page(request: Request) -> Response:
            return await _checked(handler, request)

        return page
