"""The table of Salesforce's refusals: name and phrase -> who can act, a sentence, what to do.

Kept apart from `errors`, which reads it, so that it can be read top to bottom: the first row that fits wins.
"""

from dataclasses import dataclass

from ninelives_server.oauth.outcomes import Kind, Refusal

_APP = "Setup > External Client App Manager > your app"
KEYS = (
    f"Compare the Client ID and Client Secret with the Consumer Key and Secret in {_APP} > Settings > OAuth"
    " Settings (connected app: Setup > App Manager > View > Manage Consumer Details)"
)
_WAIT = "A new or changed app takes up to ten minutes to reach all of Salesforce: wait, then try again"
HOST = (
    "Compare the Environment with the org that has the app (a sandbox has its own login address and apps);"
    " the My Domain address (Setup > My Domain) is the surest choice"
)
OFFLINE = (
    "Add 'Perform requests at any time (refresh_token, offline_access)' in"
    f" {_APP} > Settings > OAuth Settings"
)
RECONNECT = "Connect again: 'Reconnect' on the connection's page, or `ninelives connection init`"
_IP = (
    f"Ask an administrator to set {_APP} > Policies > App Authorization > IP Relaxation to 'Relax IP"
    " restrictions', or to allow this server's address in the user's profile"
)
PERMIT = (
    f"Ask an administrator to open {_APP} > Policies and either set Permitted Users to 'All users can"
    " self-authorize', or add this user's profile or permission set"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row. It fits where the name is equal and the text contains the phrase, in lower case."""

    names: tuple[str, ...]
    phrase: str = ""
    kind: Kind
    message: str
    steps: tuple[str, ...]

    def fits(self, refusal: Refusal) -> bool:
        """Say whether this row is about the refusal."""
        name = refusal.error.lower().replace("-", "_")
        return (not self.names or name in self.names) and self.phrase in refusal.description.lower()


def _entry(names: str, phrase: str, kind: Kind, message: str, *steps: str) -> Entry:
    return Entry(names=tuple(names.split()), phrase=phrase, kind=kind, message=message, steps=steps)


TABLE: tuple[Entry, ...] = (
    # -- what is over in a moment -------------------------------------------------------------------------
    _entry(
        "",
        "token request is already being processed",
        Kind.TRANSIENT,
        "Salesforce is busy with another request for the same token",
        "Nothing to do: it is tried again",
    ),
    _entry(
        "rate_limit_exceeded",
        "",
        Kind.TRANSIENT,
        "Too many logins of this user in a short time",
        "Wait some minutes: it is tried again",
    ),
    _entry(
        "",
        "login rate exceeded",
        Kind.TRANSIENT,
        "Too many logins of this user in a short time",
        "Wait some minutes: it is tried again",
    ),
    _entry("", "retry your request", Kind.TRANSIENT, "Salesforce could not answer", "It is tried again"),
    # -- consent ------------------------------------------------------------------------------------------
    _entry(
        "access_denied",
        "",
        Kind.NEEDS_REAUTH,
        "Access was denied on Salesforce's page",
        "Start again and choose 'Allow'",
        "If you chose it: your user may lack the permission to use this app; " + PERMIT,
    ),
    _entry(
        "oauth_app_blocked",
        "",
        Kind.NEEDS_ADMIN,
        "An administrator of the org has blocked this app",
        "Ask an administrator to unblock or install it: Setup > Connected Apps OAuth Usage > the app",
        "Where API Access Control is on, the app has to be approved there too: Setup > API Access Control",
    ),
    _entry(
        "oauth_approval_error_generic",
        "",
        Kind.NEEDS_ADMIN,
        "The user may not approve an app that is not installed in the org",
        "Ask an administrator to install it: Setup > Connected Apps OAuth Usage > the app > Install",
        "Or to give the user the permission 'Approve Uninstalled Connected Apps'",
    ),
    _entry("oauth_app_access_denied", "", Kind.NEEDS_ADMIN, "The user may not use this app", PERMIT),
    _entry(
        "oauth_ec_app_not_found",
        "",
        Kind.NEEDS_ADMIN,
        "The org that was logged in to does not have this external client app",
        "Log in to the org in which the app was made: a local app works only there",
        HOST,
        "A refreshed sandbox has lost the app: make it again there, and edit this connection",
        _WAIT,
    ),
    _entry(
        "invalid_app_access",
        "",
        Kind.NEEDS_ADMIN,
        "Only users that an administrator has approved may use this app",
        PERMIT,
    ),
    _entry(
        "",
        "user hasn't approved this consumer",
        Kind.NEEDS_REAUTH,
        "The user has not approved this app",
        RECONNECT,
        PERMIT,
    ),
    # -- user and org -------------------------------------------------------------------------------------
    _entry(
        "inactive_user",
        "",
        Kind.NEEDS_REAUTH,
        "The user who authorised is deactivated or frozen",
        "Ask an administrator to activate the user: Setup > Users",
        "Or connect again as another user",
    ),
    _entry(
        "invalid_grant",
        "inactive user",
        Kind.NEEDS_REAUTH,
        "The user who authorised is deactivated or frozen",
        "Ask an administrator to activate the user: Setup > Users",
        "Or connect again as another user",
    ),
    _entry(
        "invalid_grant",
        "user is inactive",
        Kind.NEEDS_REAUTH,
        "The user who authorised is deactivated or frozen",
        "Ask an administrator to activate the user: Setup > Users",
        "Or connect again as another user",
    ),
    _entry(
        "inactive_org",
        "",
        Kind.NEEDS_ADMIN,
        "The org is locked, closed or suspended",
        "Ask an administrator or Salesforce's support about the state of the org",
        HOST,
    ),
    _entry(
        "invalid_grant",
        "ip restricted",
        Kind.NEEDS_ADMIN,
        "The org does not allow this server's address, or not at this hour",
        _IP,
        "Check the login hours of the user's profile",
    ),
    # -- codes --------------------------------------------------------------------------------------------
    _entry(
        "invalid_grant",
        "expired authorization code",
        Kind.NEEDS_REAUTH,
        "The code from Salesforce was too old, or had been used already",
        "Start again",
    ),
    _entry(
        "invalid_grant",
        "invalid authorization code",
        Kind.NEEDS_REAUTH,
        "Salesforce did not accept the code that it had sent",
        "Start again",
        PERMIT,
    ),
    _entry(
        "",
        "code verifier",
        Kind.NEEDS_REAUTH,
        "Salesforce refused the proof (PKCE) of the code",
        "Start again in one browser window, and use its newest Salesforce page",
    ),
    _entry(
        "no_refresh_token",
        "",
        Kind.NEEDS_ADMIN,
        "Salesforce gave no refresh token, so access would end within hours",
        OFFLINE,
        f"Set Refresh Token Policy in {_APP} > Policies to 'Refresh token is valid until revoked'",
        _WAIT,
    ),
    # -- dead grants --------------------------------------------------------------------------------------
    _entry(
        "invalid_grant",
        "expired access/refresh token",
        Kind.NEEDS_REAUTH,
        "Salesforce has ended this authorisation",
        RECONNECT,
        "Likely causes: it was revoked in Setup > Connected Apps OAuth Usage; the app's refresh token policy;"
        " the same user authorised the same app five times more (the oldest is ended), perhaps from another"
        " server: use one app for each server",
    ),
    _entry(
        "invalid_grant",
        "token validity expired",
        Kind.NEEDS_REAUTH,
        "The refresh token has expired by the app's policy",
        RECONNECT,
        f"Set Refresh Token Policy in {_APP} > Policies to 'Refresh token is valid until revoked'",
    ),
    # -- the app's settings -------------------------------------------------------------------------------
    _entry(
        "invalid_client_id",
        "",
        Kind.REFUSED,
        "Salesforce does not know this Client ID there",
        KEYS,
        _WAIT,
        HOST,
    ),
    _entry(
        "invalid_client invalid_client_credentials",
        "",
        Kind.REFUSED,
        "Salesforce refuses the Client Secret (or the Client ID)",
        KEYS,
        "If the secret was rotated in Salesforce, edit the connection and enter the new one",
    ),
    _entry(
        "redirect_uri_mismatch redirect_uri_missing",
        "",
        Kind.REFUSED,
        "The app does not have the callback URL that this server uses",
        f"Copy the callback URL, exactly, into {_APP} > Settings > OAuth Settings > Callback URL",
        _WAIT,
    ),
    _entry(
        "invalid_request",
        "missing required code challenge",
        Kind.REFUSED,
        "Salesforce wants PKCE, and the proof got lost on the way",
        "Start again from the button; do not copy or shorten the address",
    ),
    _entry(
        "invalid_request",
        "refresh_token scope is required",
        Kind.NEEDS_ADMIN,
        "The app may not give refresh tokens",
        OFFLINE,
        _WAIT,
    ),
    _entry(
        "invalid_scope",
        "",
        Kind.REFUSED,
        "The app does not have one of the scopes that were asked for",
        f"Add 'Manage user data via APIs (api)' in {_APP} > Settings > OAuth Settings",
        OFFLINE,
        "Or edit the connection's scopes",
        _WAIT,
    ),
    _entry(
        "unauthorized_client unsupported_grant_type unsupported_response_type",
        "",
        Kind.NEEDS_ADMIN,
        "The app does not allow the web server flow",
        f"Enable it in {_APP} > Settings > OAuth Settings > Flow Enablement (authorization code)",
    ),
    _entry(
        "invalid_grant",
        "request not supported on this domain",
        Kind.REFUSED,
        "This login address does not serve the request",
        "Edit the connection and set Environment to the org's My Domain address",
    ),
    _entry(
        "immediate_unsuccessful",
        "",
        Kind.NEEDS_REAUTH,
        "Salesforce wanted to ask, and was not allowed to",
        "Start again",
    ),
    # -- the API ------------------------------------------------------------------------------------------
    _entry(
        "invalid_session_id",
        "not valid for use with the rest api",
        Kind.NEEDS_ADMIN,
        "The org does not let this authorisation use the API; a new token would not change that",
        "Check that the app has the scope 'Manage user data via APIs (api)'",
        _IP,
    ),
    _entry(
        "invalid_session_id",
        "connected app is not attached",
        Kind.NEEDS_ADMIN,
        "The org does not let this app use the API",
        "Ask an administrator to attach the app in Setup",
        PERMIT,
    ),
    _entry(
        "invalid_session_id bad_oauth_token missing_oauth_token invalid_auth_header",
        "",
        Kind.NEEDS_REAUTH,
        "Salesforce does not accept the access token any more",
        "Refresh it: 'Refresh' on the connection's page, or `ninelives connection refresh`",
        RECONNECT,
    ),
    _entry(
        "api_disabled_for_org",
        "",
        Kind.NEEDS_ADMIN,
        "The API is not enabled in this edition of Salesforce",
        "Ask Salesforce to enable the API, or use an org of an edition that has it",
    ),
    _entry(
        "api_currently_disabled",
        "",
        Kind.NEEDS_ADMIN,
        "The user who authorised may not use the API",
        "Ask an administrator to give the user the permission 'API Enabled'",
        "Or connect again as another user",
    ),
    _entry(
        "request_limit_exceeded",
        "",
        Kind.TRANSIENT,
        "The org has used up its API calls for now",
        "See Setup > Company Information > API Requests, Last 24 Hours; it is tried again",
    ),
)
