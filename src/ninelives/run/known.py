"""What `explain` knows of libraries beyond their annotations: what functions make, and what clients have.

Data, nothing else; a session never asks it, since it has the objects themselves. Names are those under which
classes and functions are defined.
"""

from typing import Final

_SALESFORCE: Final = "simple_salesforce.api.Salesforce"
_GOOGLE: Final = "googleapiclient.discovery.Resource"
_BOTO: Final = "botocore.client.BaseClient"


def _all_return(result: str, prefix: str, names: str) -> dict[str, str]:
    return {f"{prefix}.{name}": result for name in names.split()}


#: What functions return that do not say it themselves, or cannot where their library is not installed.
RETURNS: Final[dict[str, str]] = {
    "ninelives.salesforce.client": _SALESFORCE,
    "autokitteh.airtable.airtable_client": "pyairtable.api.api.Api",
    "autokitteh.anthropic.anthropic_client": "anthropic.Anthropic",
    "autokitteh.asana.asana_client": "asana.api_client.ApiClient",
    "autokitteh.atlassian.confluence_client": "atlassian.confluence.Confluence",
    "autokitteh.atlassian.jira_client": "atlassian.jira.Jira",
    "autokitteh.auth0.auth0_client": "auth0.management.auth0.Auth0",
    "autokitteh.aws.boto3_client": _BOTO,
    "autokitteh.discord.discord_client": "discord.client.Client",
    "autokitteh.github.github_client": "github.MainClass.Github",
    "autokitteh.google.gmail_client": _GOOGLE,
    "autokitteh.google.google_calendar_client": _GOOGLE,
    "autokitteh.google.google_drive_client": _GOOGLE,
    "autokitteh.google.google_forms_client": _GOOGLE,
    "autokitteh.google.google_sheets_client": _GOOGLE,
    "autokitteh.google.gspread_client": "gspread.client.Client",
    "autokitteh.google.youtube_client": _GOOGLE,
    "autokitteh.hubspot.hubspot_client": "hubspot.hubspot.HubSpot",
    "autokitteh.linear.linear_client": "requests.sessions.Session",
    "autokitteh.notion.notion_client": "notion_client.client.Client",
    "autokitteh.openai.openai_client": "openai.OpenAI",
    "autokitteh.pipedrive.pipedrive_client": "pipedrive.client.Client",
    "autokitteh.reddit.reddit_client": "praw.reddit.Reddit",
    "autokitteh.salesforce.salesforce_client": _SALESFORCE,
    "autokitteh.slack.slack_client": "slack_sdk.web.client.WebClient",
    "autokitteh.telegram.telegram_client": "telegram._bot.Bot",
    "autokitteh.twilio.twilio_client": "twilio.rest.Client",
    "autokitteh.zoom.zoom_client": "requests.sessions.Session",
    "boto3.client": _BOTO,
    "googleapiclient.discovery.build": _GOOGLE,
    **_all_return(
        "requests.models.Response", "requests.api", "delete get head options patch post put request"
    ),
    **_all_return(
        "requests.models.Response",
        "requests.sessions.Session",
        "delete get head options patch post put request send",
    ),
    **_all_return("sqlite3.Connection", "_sqlite3", "connect"),
    **_all_return("sqlite3.Cursor", "sqlite3.Connection", "cursor execute executemany executescript"),
    **_all_return("sqlite3.Cursor", "sqlite3.Cursor", "execute executemany executescript"),
    **_all_return(
        "datetime.datetime", "datetime.datetime", "now utcnow today fromisoformat fromtimestamp replace"
    ),
    **_all_return("datetime.datetime", "datetime.datetime", "astimezone strptime"),
    **_all_return("builtins.str", "datetime.datetime", "isoformat strftime"),
    **_all_return("builtins.str", "pathlib.Path", "read_text as_posix"),
    **_all_return(
        "pathlib.Path", "pathlib.Path", "absolute expanduser resolve joinpath with_name with_suffix"
    ),
    **_all_return("re.Pattern", "re", "compile"),
    **_all_return("builtins.str", "json", "dumps"),
    **_all_return(
        "builtins.str",
        "builtins.str",
        "capitalize casefold format join lower lstrip removeprefix removesuffix replace rstrip strip title "
        "translate upper zfill",
    ),
    **_all_return("builtins.list", "builtins.str", "rsplit split splitlines"),
    **_all_return("builtins.bytes", "builtins.str", "encode"),
    **_all_return("builtins.str", "builtins.bytes", "decode hex"),
}

#: Classes whose attributes are made when they are read: what those are, `*` for all that are not named.
MADE: Final[dict[str, dict[str, str]]] = {
    _SALESFORCE: {
        "bulk": "simple_salesforce.bulk.SFBulkHandler",
        "bulk2": "simple_salesforce.bulk2.SFBulk2Handler",
        "*": "simple_salesforce.api.SFType",
    },
    "simple_salesforce.bulk.SFBulkHandler": {"*": "simple_salesforce.bulk.SFBulkType"},
    "simple_salesforce.bulk2.SFBulk2Handler": {"*": "simple_salesforce.bulk2.SFBulk2Type"},
}

#: Attributes of `MADE` classes that are plain values, or objects of another library.
VALUES: Final = frozenset(
    {"api_usage", "auth_type", "base_url", "headers", "proxies", "request", "session", "session_id"}
    | {"sf_instance", "sf_version"}
)

#: Clients of which everything, at whatever depth, asks their service: `client.pages.create`.
FACADES: Final = frozenset(
    {
        _BOTO,
        "auth0.management.async_auth0.AsyncAuth0",
        "auth0.management.auth0.Auth0",
        "hubspot.hubspot.HubSpot",
        "notion_client.client.Client",
        "pipedrive.client.Client",
        "twilio.rest.Client",
    }
)

#: Clients whose methods return more of themselves, until one of these asks the service.
BUILDERS: Final[dict[str, dict[str, str]]] = {
    _GOOGLE: {"execute": "googleapiclient.http.HttpRequest.execute"},
}
