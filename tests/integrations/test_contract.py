"""The same test for every integration there is: whoever adds one gets it for nothing."""

import pytest

from ninelives_server.integrations import check
from ninelives_server.integrations.contract import App, Integration
from ninelives_server.integrations.registry import Registry
from ninelives_server.model.connections import ConnectionState
from ninelives_server.oauth.outcomes import Kind, Refusal
from ninelives_server.oauth.tokens import TokenSet

ALL = pytest.mark.parametrize("integration", Registry.load().all(), ids=lambda i: i.name)


@ALL
def test_it_passes_the_validator(integration: Integration):
    """Fields, modes, names, hosts."""
    assert check.problems(integration) == []


@ALL
def test_every_refusal_has_an_answer(integration: Integration):
    """Whatever a service says, people get a sentence, steps and a state that fits."""
    for kind in Kind:
        for status in (0, 200, 400, 401, 403, 404, 429, 500, 503):
            refusal = Refusal(kind=kind, error="never_heard_of", description="odd", status=status)
            found = integration.diagnose(refusal)
            assert found.message
            assert found.next_steps
            assert found.state not in {ConnectionState.OK, ConnectionState.NEW}
            assert "never_heard_of" in found.provider_words


@ALL
def test_no_secret_is_in_the_authorize_address(integration: Integration):
    """It travels through browsers, histories and logs."""
    for mode in integration.auth_modes:
        if not mode.uses_oauth:
            continue
        secrets = {f.name: f"SECRET-{f.name}" for f in mode.fields if f.is_secret}
        settings = integration.normalise(mode.name, {"client_id": "id"}, frozenset())
        url = integration.authorize_url(
            App(settings=settings, secrets=secrets),
            redirect_uri="https://x.example/cb",
            state="s",
            challenge="c",
        )
        assert "SECRET" not in url
        assert "code_challenge_method=S256" in url


@ALL
def test_sessions_get_no_refresh_token_and_no_client_secret(integration: Integration):
    """Only what helpers read: the access token and where to use it (design, rule 4)."""
    tokens = TokenSet(access_token="ACCESS", refresh_token="REFRESH", extra={"instance_url": "https://x"})

    env = integration.session_environment("crm", "con_1", integration.auth_modes[0].name, tokens)

    assert "REFRESH" not in "".join(env.values())
    assert env["crm__connection_id"] == "con_1"
    assert all(name.startswith("crm__") for name in env)
