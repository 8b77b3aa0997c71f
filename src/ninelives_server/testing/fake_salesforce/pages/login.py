"""The login page, and the browser session that consent and Setup ask for."""

import secrets
from collections.abc import Mapping
from urllib.parse import urlencode

from ninelives_server.testing.fake_salesforce.http import Call, Reply, redirect
from ninelives_server.testing.fake_salesforce.org import Org
from ninelives_server.testing.fake_salesforce.pages import render
from ninelives_server.testing.fake_salesforce.records import Row

HOME = "/lightning/setup/SetupOneHome/home"


def cookie_name(org: Org) -> str:
    """Return the cookie's name: two orgs on ports of one host share the browser's cookies."""
    return f"sid_{org.org_id[:15]}"


def current_user(org: Org, call: Call) -> Row | None:
    """Return the user that this browser is logged in as."""
    user_id = org.browser_sessions.get(call.cookies().get(cookie_name(org), ""))
    user = org.user(user_id) if user_id else None
    return user if user and user["IsActive"] else None


def ask(start: str, hint: str = "") -> Reply:
    """Send the browser to the login page, and from there to `start`."""
    fields = {"startURL": start} | ({"un": hint} if hint else {})
    return redirect(f"/login?{urlencode(fields)}")


def show(org: Org, call: Call, _parts: Mapping[str, str]) -> Reply:
    """Show the login form."""
    del org
    return _form(call, username=call.query.get("un", ""), error="")


def _form(call: Call, *, username: str, error: str) -> Reply:
    query = urlencode({"startURL": _start(call)})
    return render.page("login.html", action=f"/login?{query}", username=username, error=error)


def _start(call: Call) -> str:
    start = call.query.get("startURL") or call.form().get("startURL") or HOME
    is_local = start.startswith("/") and not start.startswith(("//", "/\\"))
    return start if is_local else HOME


def submit(org: Org, call: Call, _parts: Mapping[str, str]) -> Reply:
    """Check name and password, and go where the browser wanted to go."""
    form = call.form()
    username = form.get("username", "")
    user_id = org.log_in(username, form.get("password", ""))
    if user_id is None:
        message = (
            "Please check your username and password. If you still can't log in, contact your "
            "Salesforce administrator."
        )
        return _form(call, username=username, error=message)
    session = secrets.token_urlsafe(32)
    org.browser_sessions[session] = user_id
    secure = "; Secure" if call.scheme == "https" else ""
    reply = redirect(_start(call), status=303)
    reply.headers["set-cookie"] = f"{cookie_name(org)}={session}; Path=/; HttpOnly; SameSite=Lax{secure}"
    return reply


def log_out(org: Org, call: Call, _parts: Mapping[str, str]) -> Reply:
    """End the browser session."""
    forget(org, call)
    reply = redirect("/login", status=303)
    reply.headers["set-cookie"] = f"{cookie_name(org)}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
    return reply


def forget(org: Org, call: Call) -> None:
    """End the session that this browser presents, if any."""
    org.browser_sessions.pop(call.cookies().get(cookie_name(org), ""), None)
