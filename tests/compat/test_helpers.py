"""Every connection helper of the SDK makes its client from what a connection of that integration gives.

The libraries of all helpers weigh 700 MB, so these tests run where an interpreter has them: `python -m venv X`,
`X/bin/pip install 'autokitteh[all]==0.8.3'`, `NINELIVES_TEST_SDK_PYTHON=X/bin/python`.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ninelives_server.integrations import entered
from ninelives_server.integrations.contract import App
from ninelives_server.integrations.registry import Registry
from ninelives_server.testing.session_harness import Harness

PYTHON = os.environ.get("NINELIVES_TEST_SDK_PYTHON", "")
NEEDS_LIBRARIES = pytest.mark.skipif(not PYTHON, reason="NINELIVES_TEST_SDK_PYTHON names no interpreter")


def _pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kind, encoding = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    return key.private_bytes(encoding, kind, serialization.NoEncryption()).decode()


PEM = _pem()
ACCOUNT = json.dumps(
    {
        "type": "service_account",
        "client_email": "a@acme.iam.gserviceaccount.com",
        "private_key": PEM,
        "token_uri": "https://oauth2.googleapis.com/token",
    }
)
KUBECONFIG = json.dumps(
    {
        "clusters": [{"name": "c", "cluster": {"server": "https://k8s.example"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
)


@dataclass(frozen=True)
class Case:
    """A helper, the integration and mode that feed it, and the class of what it makes."""

    helper: str
    integration: str
    mode: str | None
    values: dict[str, str]
    made: str | None
    call: str = "(C)"

    @property
    def module(self) -> str:
        return self.helper.partition(".")[0]


KEY = "key-0123456789"
CASES = [
    Case("airtable.airtable_client", "airtable", None, {"pat": KEY}, "Api"),
    Case("anthropic.anthropic_client", "anthropic", None, {"api_key": KEY}, "Anthropic"),
    Case("asana.asana_client", "asana", None, {"pat": KEY}, "ApiClient"),
    Case(
        "atlassian.jira_client",
        "jira",
        None,
        {"BaseURL": "https://a.atlassian.net", "Email": "a@b.example", "Token": KEY},
        "Jira",
    ),
    Case(
        "atlassian.confluence_client",
        "confluence",
        "pat",
        {"BaseURL": "https://c.example", "Token": KEY},
        "Confluence",
    ),
    Case("atlassian.get_base_url", "jira", "pat", {"BaseURL": "https://c.example", "Token": KEY}, "str"),
    Case(
        "auth0.auth0_client",
        "auth0",
        None,
        {"auth0_domain": "a.auth0.com", "oauth_AccessToken": KEY},
        None,
    ),
    Case(
        "aws.boto3_client",
        "aws",
        None,
        {"Region": "eu-central-1", "AccessKeyID": "A", "SecretKey": KEY},
        "S3",
        "(C, 's3')",
    ),
    Case(
        "azurebot.azurebot_client",
        "azurebot",
        None,
        {"app_id": "i", "tenant_id": "t", "app_password": KEY, "give_to_sessions": "yes"},
        "AzureBotClient",
    ),
    Case("discord.discord_client", "discord", None, {"BotToken": KEY}, "Client"),
    Case("discord.bot_token", "discord", None, {"BotToken": KEY}, "str"),
    Case("github.github_client", "github", None, {"pat": KEY}, "Github"),
    Case(
        "github.github_client",
        "github",
        "app",
        {"app_id": "1", "install_id": "2", "private_key": PEM},
        "Github",
    ),
    Case("google.gmail_client", "gmail", None, {"JSON": ACCOUNT}, "Resource"),
    Case("google.google_calendar_client", "googlecalendar", None, {"JSON": ACCOUNT}, "Resource"),
    Case("google.google_drive_client", "googledrive", None, {"JSON": ACCOUNT}, "Resource"),
    Case("google.google_forms_client", "googleforms", None, {"JSON": ACCOUNT}, "Resource"),
    Case("google.google_sheets_client", "googlesheets", None, {"JSON": ACCOUNT}, "Resource"),
    Case("google.gspread_client", "googlesheets", None, {"JSON": ACCOUNT}, "Client"),
    Case("google.youtube_client", "youtube", None, {"JSON": ACCOUNT}, "Resource"),
    Case(
        "google.gemini_client",
        "googlegemini",
        None,
        {"api_key": KEY},
        "GenerativeModel",
        "(C, model_name='m')",
    ),
    Case("google.google_pydantic_ai_provider", "googlegemini", None, {"api_key": KEY}, "GoogleProvider"),
    Case("hubspot.hubspot_client", "hubspot", None, {"private_app_token": KEY}, "HubSpot"),
    Case("kubernetes.kubernetes_client", "kubernetes", None, {"config_file": KUBECONFIG}, "module"),
    Case("linear.linear_client", "linear", None, {"api_key": KEY}, "Session"),
    Case(
        "microsoft.teams_client",
        "microsoft_teams",
        None,
        {
            "private_client_id": "c",
            "private_tenant_id": "t",
            "private_client_secret": KEY,
            "give_to_sessions": "yes",
        },
        "GraphServiceClient",
    ),
    Case("notion.notion_client", "notion", None, {"api_key": KEY}, "Client"),
    Case("openai.openai_client", "chatgpt", None, {"apiKey": KEY}, "OpenAI"),
    Case(
        "pipedrive.pipedrive_client",
        "pipedrive",
        None,
        {"company_domain": "https://a.pipedrive.com", "api_key": KEY},
        "Client",
    ),
    Case("pydantic.pydantic_gateway_provider", "pydantic", None, {"api_key": KEY}, None, "(C, 'openai')"),
    Case("pydantic.anthropic_pydantic_ai_provider", "anthropic", None, {"api_key": KEY}, "AnthropicProvider"),
    Case("pydantic.openai_pydantic_ai_provider", "chatgpt", None, {"apiKey": KEY}, "OpenAIProvider"),
    Case(
        "reddit.reddit_client",
        "reddit",
        None,
        {"client_id": "c", "client_secret": KEY, "user_agent": "u", "give_to_sessions": "yes"},
        "Reddit",
    ),
    Case("telegram.telegram_client", "telegram", None, {"BotToken": "1:" + KEY}, "Bot"),
    Case(
        "twilio.twilio_client",
        "twilio",
        None,
        {"AccountSID": "A", "Username": "U", "Password": KEY},
        "Client",
    ),
    Case("zoom.zoom_client", "zoom", None, {"oauth_access_token": KEY}, "OAuth2Session"),
]


@pytest.fixture(scope="module")
def sdk() -> Iterator[Harness]:
    """Sessions of the interpreter that has all libraries."""
    made = Harness(PYTHON)
    yield made
    made.close()


@NEEDS_LIBRARIES
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.helper}-{case.mode or 'first'}")
def test_a_helper_makes_its_client(sdk: Harness, program, case: Case):
    """From the variables of the connection alone; without them it says that it is not initialised."""
    mode = Registry.load().mode(case.integration, case.mode)
    secret_names = {f.name for f in mode.fields if f.is_secret}
    app = App(
        settings={n: v for n, v in case.values.items() if n not in secret_names},
        secrets={n: v for n, v in case.values.items() if n in secret_names},
    )
    found, _ = entered.variables(mode, app)
    made = program(
        f"""
        from autokitteh import {case.module}
        from autokitteh.errors import ConnectionInitError

        C = "conn"

        def main(event):
            found = {case.helper}{case.call}
            try:
                {case.helper.replace(case.module, case.module)}{case.call.replace("C", "'other'", 1)}
            except ConnectionInitError as error:
                missing = str(error)
            except Exception as error:
                missing = type(error).__name__
            else:
                missing = ""
            try:
                {case.helper}{case.call.replace("C", "'no-name'", 1)}
            except ValueError:
                return [type(found).__name__, missing]
        """,
        env={f"conn__{name}": value for name, value in found.items()},
        connections=["conn"],
        answers={"token": lambda _args: {"token": KEY}},
    )

    outcome = sdk.run(made)

    assert outcome.state == "completed", outcome.error
    name, missing = outcome.result
    assert case.made in {None, name}
    lenient = {"aws.boto3_client", "atlassian.get_base_url", "hubspot.hubspot_client"}
    assert case.helper in lenient or missing, missing


def test_every_helper_of_the_sdk_has_a_case():
    """Modules whose helpers are made from a connection; Slack and Salesforce are tried in whole projects."""
    import autokitteh

    modules = {path.partition(".")[0] for path in (case.helper for case in CASES)} | {"slack", "salesforce"}
    plain = (
        "activities attr_dict connections errors event events oauth2_session outcomes packages signals store"
    )
    there = {name.removesuffix(".py") for name in os.listdir(autokitteh.__path__[0]) if name.endswith(".py")}

    assert there - set(plain.split()) - {"__init__", "triggers", "slack_test"} == modules
