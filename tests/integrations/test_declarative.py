"""Integrations that are one TOML file: the catalogue, and what a wrong file is told."""

from pathlib import Path

import pytest

from ninelives_server.errors import Invalid
from ninelives_server.integrations import entered
from ninelives_server.integrations.contract import App
from ninelives_server.integrations.declarative import Declarative
from ninelives_server.integrations.registry import Registry

TELEGRAM = """
name = "telegram"
title = "Telegram"
docs = "https://core.telegram.org/bots"
[[modes]]
name = "bot_token"
title = "Bot token"
token = "BotToken"
variables = {auth_type = "bot"}
[[modes.fields]]
name = "BotToken"
label = "Bot token"
kind = "secret"
required = true
[[modes.fields]]
name = "note"
label = "Note"
"""

#: Every integration of AutoKitteh that its SDK has a helper for.
HELPERS = (
    "airtable anthropic asana auth0 aws azurebot chatgpt confluence discord github gmail googlecalendar "
    "googledrive googleforms googlegemini googlesheets hubspot jira kubernetes linear microsoft_teams notion "
    "pipedrive pydantic reddit salesforce slack telegram twilio youtube zoom"
).split()


@pytest.mark.parametrize("name", HELPERS)
def test_every_integration_of_the_sdk_is_there(name: str):
    """A manifest of AutoKitteh deploys unchanged, so its names are ours."""
    assert Registry.load().get(name).name == name


def test_an_alias_is_the_same_integration():
    """`openai` is what people write, `chatgpt` what AutoKitteh calls it."""
    registry = Registry.load()

    assert registry.get("openai") is registry.get("chatgpt")
    assert registry.mode("teams").name == "client_credentials"
    assert {"openai", "chatgpt"} <= registry.names()


def test_a_field_is_the_variable_of_its_name(tmp_path: Path):
    """Sessions find what was entered, and what the mode adds; secrets are masked."""
    path = tmp_path / "telegram.toml"
    path.write_text(TELEGRAM)
    [mode] = Declarative.load(path).auth_modes

    found, masked = entered.variables(mode, App(settings={"note": ""}, secrets={"BotToken": "1:abc"}))

    assert found == {"auth_type": "bot", "BotToken": "1:abc"}
    assert masked == {"1:abc"}
    assert not mode.uses_oauth


def test_a_client_secret_is_given_only_where_the_owner_said_so():
    """Reddit's library needs the secret itself; the form has a choice for it, and it is preset to no."""
    mode = Registry.load().mode("reddit")
    secrets = {"client_secret": "shh", "password": "pw"}

    kept, _ = entered.variables(mode, App(settings={"client_id": "id"}, secrets=secrets))
    given, masked = entered.variables(
        mode, App(settings={"client_id": "id", "give_to_sessions": "yes"}, secrets=secrets)
    )

    assert kept == {"client_id": "id", "password": "pw"}
    assert given == {"client_id": "id", "client_secret": "shh", "password": "pw"}
    assert masked == {"shh", "pw"}
    assert next(f for f in mode.fields if f.name == "give_to_sessions").default == "no"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name = ", "odd.toml"),
        ('name = "x"', "'title'"),
        (TELEGRAM.replace('label = "Note"', 'label = "Note"\nsecret = true'), "secret"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, text: str, told: str):
    """Whoever writes one reads the file's name and the key."""
    path = tmp_path / "odd.toml"
    path.write_text(text)

    with pytest.raises(Invalid, match=told):
        Declarative.load(path)


def test_no_file_of_the_catalogue_has_oauth_yet():
    """OAuth needs a provider's own code today: this says so where somebody looks for it."""
    found = [i for i in Registry.load().all() if isinstance(i, Declarative)]

    assert found
    assert not any(mode.uses_oauth for i in found for mode in i.auth_modes)
    assert all(Registry.load().source(i.name) is None for i in found)
