"""Setup pages under Salesforce's names: External Client App Manager, and Change Data Capture.

Server-rendered forms that work without scripts. Labels and field names are listed in
`docs/reference/fake-salesforce.md`; a test that follows the connection guide relies on them.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta

from ninelives_server.testing.fake_salesforce import apps
from ninelives_server.testing.fake_salesforce.apps import App
from ninelives_server.testing.fake_salesforce.http import Call, Handler, Reply, Router, redirect
from ninelives_server.testing.fake_salesforce.org import Org
from ninelives_server.testing.fake_salesforce.pages import login, render
from ninelives_server.testing.fake_salesforce.records import Row

MANAGER = "/lightning/setup/ManageExternalClientApplication"
CAPTURE = "/lightning/setup/CdcObjectEnablement/home"

#: Setup node -> path, as Quick Find lists them.
NODES = {
    "External Client App Manager": f"{MANAGER}/home",
    "Change Data Capture": CAPTURE,
}
_SWITCHES = {
    "require_secret_web": "Require secret for Web Server Flow",
    "require_secret_refresh": "Require secret for Refresh Token Flow",
    "require_pkce": "Require Proof Key for Code Exchange (PKCE) extension for Supported Authorization Flows",
    "rotate_refresh_tokens": "Enable Refresh Token Rotation",
}

Page = Callable[[Org, Call, Mapping[str, str], Row], Reply]


def add_routes(router: Router[Handler]) -> None:
    """Add the pages; each asks for a login first."""
    one = f"{MANAGER}/{{app_id}}"
    for methods, path, page in (
        ("GET", login.HOME, home),
        ("GET", f"{MANAGER}/home", manager),
        ("GET", f"{MANAGER}/new", new_app),
        ("POST", f"{MANAGER}/new", create_app),
        ("GET", f"{one}/settings", settings),
        ("GET", f"{one}/edit", edit_app),
        ("POST", f"{one}/edit", save_app),
        ("GET", f"{one}/consumer", consumer),
        ("GET", CAPTURE, capture),
        ("POST", CAPTURE, change_capture),
    ):
        router.add(methods, path, _logged_in(page))


def _logged_in(page: Page) -> Handler:
    def handler(org: Org, call: Call, parts: Mapping[str, str]) -> Reply:
        user = login.current_user(org, call)
        if user is None:
            return login.ask(call.path)
        return page(org, call, parts, user)

    return handler


def home(org: Org, call: Call, _parts: Mapping[str, str], user: Row) -> Reply:
    """Show Setup Home with Quick Find."""
    del org
    wanted = call.query.get("q", "").strip().lower()
    found = {name: path for name, path in NODES.items() if wanted in name.lower()}
    return render.page("setup_home.html", user=user, nodes=found, wanted=call.query.get("q", ""))


# -- external client apps ------------------------------------------------------------------------


def manager(org: Org, _call: Call, _parts: Mapping[str, str], user: Row) -> Reply:
    """List the apps."""
    return render.page("app_manager.html", user=user, apps=list(org.apps.values()), root=MANAGER)


def new_app(org: Org, _call: Call, _parts: Mapping[str, str], user: Row) -> Reply:
    """Show the form for a new app, the security boxes ticked."""
    del org
    form = {"name": "", "contact_email": user["Email"] or "", "distribution": "Local", "callbacks": ""}
    checked = {*_SWITCHES}
    return _app_form(user, f"{MANAGER}/new", form, checked=checked, scopes=set(), oauth=False, error="")


def _app_form(
    user: Row, action: str, form: Mapping[str, str], *, checked: set[str], scopes: set[str], oauth: bool,
    error: str,
) -> Reply:  # fmt: skip
    return render.page(
        "app_form.html", user=user, action=action, form=form, switches=_SWITCHES, checked=checked,
        scopes=apps.SCOPES, chosen=scopes, oauth=oauth, error=error, root=MANAGER,
        status=400 if error else 200,
    )  # fmt: skip


def create_app(org: Org, call: Call, _parts: Mapping[str, str], user: Row) -> Reply:
    """Make the app that the form describes."""
    form = call.form()
    try:
        _check(form)
        wait = timedelta(seconds=org.behaviour.app_propagation_seconds)
        app = apps.new_app(
            org.ids, name=form["name"].strip(), contact_email=form["contact_email"].strip(),
            callbacks=form.get("callbacks", "").splitlines(), visible_from=org.clock.now() + wait,
        )  # fmt: skip
        _apply(app, call)
    except ValueError as error:
        return _refused(call, user, f"{MANAGER}/new", str(error))
    org.apps[app.client_id] = app
    return redirect(f"{MANAGER}/{app.app_id}/settings", status=303)


def _check(form: Mapping[str, str]) -> None:
    if not form.get("name", "").strip():
        raise ValueError("External Client App Name: you must enter a value")
    if "@" not in form.get("contact_email", ""):
        raise ValueError("Contact Email: you must enter a valid email address")
    if form.get("enable_oauth") and not form.get("callbacks", "").strip():
        raise ValueError("Callback URL: you must enter a value")


def _apply(app: App, call: Call) -> None:
    form = call.form()
    app.name, app.contact_email = form["name"].strip(), form["contact_email"].strip()
    app.callbacks = apps.checked_callbacks(form.get("callbacks", "").splitlines())
    app.scopes = tuple(value for name, value in call.pairs() if name == "scopes" and value in apps.SCOPES)
    app.oauth_enabled = "enable_oauth" in form
    if app.oauth_enabled and not app.scopes:
        raise ValueError("OAuth Scopes: select at least one")
    for switch in _SWITCHES:
        setattr(app, switch, switch in form)


def _refused(call: Call, user: Row, action: str, error: str) -> Reply:
    form = {"name": "", "contact_email": "", "distribution": "Local", "callbacks": "", **call.form()}
    scopes = {value for name, value in call.pairs() if name == "scopes"}
    checked = {switch for switch in _SWITCHES if switch in form}
    oauth = "enable_oauth" in form
    return _app_form(user, action, form, checked=checked, scopes=scopes, oauth=oauth, error=error)


def _missing(user: Row) -> Reply:
    return render.page("setup_missing.html", status=404, user=user, root=MANAGER)


def settings(org: Org, _call: Call, parts: Mapping[str, str], user: Row) -> Reply:
    """Show the Settings tab of an app."""
    app = org.app_by_id(parts["app_id"])
    if app is None:
        return _missing(user)
    chosen = [apps.SCOPES[scope] for scope in app.scopes]
    switches = {label: getattr(app, name) for name, label in _SWITCHES.items()}
    return render.page(
        "app_settings.html", user=user, app=app, scopes=chosen, switches=switches, root=MANAGER
    )


def edit_app(org: Org, _call: Call, parts: Mapping[str, str], user: Row) -> Reply:
    """Show the form of an app."""
    app = org.app_by_id(parts["app_id"])
    if app is None:
        return _missing(user)
    form = {
        "name": app.name, "contact_email": app.contact_email, "distribution": app.distribution,
        "callbacks": "\n".join(app.callbacks),
    }  # fmt: skip
    checked = {switch for switch in _SWITCHES if getattr(app, switch)}
    action = f"{MANAGER}/{app.app_id}/edit"
    return _app_form(
        user, action, form, checked=checked, scopes=set(app.scopes), oauth=app.oauth_enabled, error=""
    )


def save_app(org: Org, call: Call, parts: Mapping[str, str], user: Row) -> Reply:
    """Save the form of an app."""
    app = org.app_by_id(parts["app_id"])
    if app is None:
        return _missing(user)
    try:
        _check(call.form())
        _apply(app, call)
    except ValueError as error:
        return _refused(call, user, f"{MANAGER}/{app.app_id}/edit", str(error))
    return redirect(f"{MANAGER}/{app.app_id}/settings", status=303)


def consumer(org: Org, _call: Call, parts: Mapping[str, str], user: Row) -> Reply:
    """Show key and secret of an app."""
    app = org.app_by_id(parts["app_id"])
    if app is None:
        return _missing(user)
    return render.page("app_consumer.html", user=user, app=app, root=MANAGER)


# -- change data capture -------------------------------------------------------------------------


def capture(org: Org, call: Call, _parts: Mapping[str, str], user: Row) -> Reply:
    """Show which entities are selected for Change Data Capture."""
    return _capture_page(org, user, org.bus.selected, saved="saved" in call.query)


def _capture_page(org: Org, user: Row, chosen: set[str], *, saved: bool = False) -> Reply:
    every = {o.name: f"{o.label} ({o.name})" for o in org.catalog.trackable()}
    return render.page(
        "capture.html", user=user, action=CAPTURE, saved=saved, dirty=chosen != org.bus.selected,
        selected={n: label for n, label in every.items() if n in chosen},
        available={n: label for n, label in every.items() if n not in chosen},
    )  # fmt: skip


def change_capture(org: Org, call: Call, _parts: Mapping[str, str], user: Row) -> Reply:
    """Move entities between the two lists; nothing counts before it is saved."""
    form = call.pairs()
    known = {o.name for o in org.catalog.trackable()}
    chosen = {value for name, value in form if name == "chosen"} & known
    action = call.form().get("action", "")
    if action == "add":
        chosen |= {value for name, value in form if name == "available"} & known
    elif action == "remove":
        chosen -= {value for name, value in form if name == "selected"}
    elif action == "save":
        org.select_entities(sorted(chosen))
        return redirect(f"{CAPTURE}?saved=1", status=303)
    return _capture_page(org, user, chosen)
