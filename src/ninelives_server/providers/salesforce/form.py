"""What people enter for a Salesforce connection, in the order of the form; help in the vendor's words."""

from ninelives_server.integrations.contract import AuthMode, Choice, Field, Hint

_WHERE = (
    "External Client App Manager > Settings > OAuth Settings;"
    " connected app: App Manager > View > Manage Consumer Details"
)
#: The least that works: the API, and a refresh token. An app that lacks a scope refuses the whole request.
SCOPES = "api refresh_token"

FIELDS = (
    Field(
        name="client_id",
        label="Client ID",
        help=f"Consumer Key: {_WHERE}",
        required=True,
        placeholder="3MVG9…",
    ),
    Field(
        name="client_secret",
        label="Client Secret",
        help=f"Consumer Secret: {_WHERE}",
        kind="secret",
        required=True,
    ),
    Field(
        name="environment",
        label="Environment",
        help="Where the org's users log in. My Domain: Setup > My Domain > Current My Domain URL",
        kind="choice",
        choices=(
            Choice(value="production", label="Production or Developer Edition"),
            Choice(value="sandbox", label="Sandbox"),
        ),
        default="production",
        other_label="My Domain URL",
        placeholder="https://acme.my.salesforce.com",
    ),
    Field(
        name="scopes",
        label="Scopes",
        help="Asked for in this order, separated by spaces; the app must have each of them",
        default=SCOPES,
        is_advanced=True,
    ),
    Field(
        name="pubsub_endpoint",
        label="Pub/Sub API endpoint",
        help="Only where Salesforce told you to use another one, such as that of Hyperforce in the EU",
        placeholder="api.pubsub.salesforce.com:7443",
        is_advanced=True,
    ),
)

PRIVATE = AuthMode(
    name="oauth_private",
    title="Your own app (OAuth)",
    fields=FIELDS,
    uses_oauth=True,
    setup_steps=(
        "In Salesforce's Setup enter 'External Client App' into Quick Find, open External Client App Manager",
        "New External Client App: enter a name and an e-mail address, Distribution State 'Local'",
        "Open 'API (Enable OAuth Settings)', tick 'Enable OAuth' and paste the callback URL from above",
        "Add the OAuth scope 'Manage user data via APIs (api)'",
        "Add the OAuth scope 'Perform requests at any time (refresh_token, offline_access)'",
        "Leave the security settings as they are ticked, and Create",
        "In Settings > OAuth Settings of the app open 'Consumer Key and Secret' and copy the two values here",
        "Wait up to ten minutes until Salesforce knows the new app everywhere",
    ),
)

#: Salesforce shows these on its own page and never sends them back.
HINTS = (
    Hint(
        seen="redirect_uri_mismatch",
        cause="The app does not have exactly this callback URL: scheme, host, port and path all count",
        next_step="Copy the callback URL into External Client App Manager > Settings > OAuth Settings >"
        " Callback URL, and wait up to ten minutes",
    ),
    Hint(
        seen="invalid_client_id, or 'client identifier invalid'",
        cause="The app is too new, or lives in another org, or the Client ID is not its Consumer Key",
        next_step="Wait up to ten minutes after creating the app; then compare Client ID and Environment",
    ),
    Hint(
        seen="OAUTH_EC_APP_NOT_FOUND, or a page that says that the app is not installed",
        cause="You are logged in to an org that does not have the app",
        next_step="Log out of Salesforce, retry, and log in to the org that has the app;"
        " set Environment to its My Domain URL",
    ),
    Hint(
        seen="missing required code challenge, an empty page, or a downloaded file called 'authorize'",
        cause="The address was shortened or opened a second time, and lost its PKCE proof",
        next_step="Retry with the button here; do not copy the address",
    ),
    Hint(
        seen="'We can't log you in', or an endless login",
        cause="The login address does not fit the user, or single sign-on leads elsewhere",
        next_step="Set Environment to the org's My Domain URL (Setup > My Domain)",
    ),
)
