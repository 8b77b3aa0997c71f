"""Logging in with a one-time link, and out again."""

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import RedirectResponse, Response

from ninelives_server.errors import Unauthenticated
from ninelives_server.web.guards import (
    FORM_COOKIE,
    LOGIN_COOKIE,
    NEXT_COOKIE,
    Anybody,
    PageRoute,
    form_token,
    keep_form_token,
)
from ninelives_server.web.pages import View

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_FOURTEEN_DAYS = 14 * 24 * 3600  # seconds; as long as the login itself


async def _show(view: View, token: str) -> Response:
    user_name = await view.services.access.peek_login(token) if token else None
    proof = form_token(view.request)
    status = 200 if user_name or not token else 410
    answer = view.page(
        "login.html",
        status=status,
        referrer="no-referrer",
        token=token,
        user_name=user_name,
        form_token=proof,
    )
    keep_form_token(answer, view, proof)
    return answer


@router.get("/login")
async def login_page(view: Anybody, token: str = "") -> Response:
    """Show whom a link is for, with a button; looking at it does not use it up."""
    return await _show(view, token)


@router.post("/login")
async def login(view: Anybody, token: Annotated[str, Form()] = "") -> Response:
    """Use a link up and go on to where the browser wanted to go."""
    try:
        _, cookie = await view.services.access.login(token)
    except Unauthenticated:
        return await _show(view, token or "spent")
    path = view.at.cookie_path
    wanted = view.request.cookies.get(NEXT_COOKIE, "/")
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    answer = RedirectResponse(
        view.at.prefix + (wanted if is_ours else "/"), status_code=303, headers={"Cache-Control": "no-store"}
    )
    answer.set_cookie(
        LOGIN_COOKIE, cookie, max_age=_FOURTEEN_DAYS, path=path, secure=view.is_secure,
        httponly=True, samesite="lax",
    )  # fmt: skip
    answer.delete_cookie(NEXT_COOKIE, path=path)
    answer.delete_cookie(FORM_COOKIE, path=path)
    return answer


@router.post("/logout")
async def logout(view: Anybody) -> Response:
    """End the login of this browser."""
    await view.services.access.logout(view.request.cookies.get(LOGIN_COOKIE, ""))
    answer = view.go(view.at.url("login"))
    answer.delete_cookie(LOGIN_COOKIE, path=view.at.cookie_path)
    return answer
