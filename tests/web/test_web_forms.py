"""Forms made from what integrations say of themselves."""

import pytest

from ninelives_server.integrations.contract import AuthMode, Choice, Field
from ninelives_server.integrations.registry import Registry
from ninelives_server.web import forms

MODE = AuthMode(
    name="oauth_private",
    title="Your own app",
    uses_oauth=True,
    fields=(
        Field(name="client_id", label="Client ID", required=True),
        Field(name="client_secret", label="Client Secret", kind="secret", required=True),
        Field(
            name="environment",
            label="Environment",
            kind="choice",
            choices=(Choice(value="production", label="Production"),),
            default="production",
            other_label="My Domain URL",
        ),
    ),
)


def by_name(inputs: list[forms.Input]) -> dict[str, forms.Input]:
    return {found.name: found for found in inputs}


def test_defaults_are_preset_and_secrets_never_are():
    """
    A secret is write-only: even one that is known never comes back into a form.
    """
    shown = by_name(
        forms.inputs(MODE, values={"client_secret": "hush"}, secrets_set=frozenset({"client_secret"}))
    )

    assert shown["environment"].value == "production"
    assert shown["client_secret"].value == ""
    assert shown["client_secret"].is_set
    assert not shown["client_secret"].required
    assert by_name(forms.inputs(MODE))["client_secret"].required


def test_a_choice_may_be_an_address_of_its_own():
    """
    What is none of the choices is shown in, and read from, the text input beside them.
    """
    url = "https://acme.my.salesforce.com"
    shown = by_name(forms.inputs(MODE, values={"environment": url}))["environment"]

    settings, _ = forms.read(MODE, {"environment": forms.OTHER, "environment.other": f" {url} "})

    assert (shown.value, shown.other) == (forms.OTHER, url)
    assert settings == {"environment": url}


def test_the_text_beside_a_choice_counts_only_where_it_was_chosen():
    """
    Somebody who typed an address and then chose production means production.
    """
    settings, _ = forms.read(MODE, {"environment": "production", "environment.other": "https://x.example"})

    assert settings == {"environment": "production"}


def test_blank_secrets_and_unknown_fields_are_left_out():
    """
    Blank keeps the secret that is there; nothing that the mode does not know reaches a connection.
    """
    settings, secrets = forms.read(MODE, {"client_id": " 3MVG9 ", "client_secret": "", "is_admin": "1"})

    assert settings == {"client_id": "3MVG9"}
    assert secrets == {}


def test_errors_stand_at_their_fields():
    """
    A form that is shown again says what is wrong where it is wrong.
    """
    shown = by_name(forms.inputs(MODE, errors={"client_id": "has blanks"}))

    assert shown["client_id"].error == "has blanks"
    assert shown["environment"].error == ""


MODES = [(i.name, m) for i in Registry.load().all() for m in i.auth_modes]


@pytest.mark.parametrize(("name", "mode"), MODES, ids=[f"{name}-{mode.name}" for name, mode in MODES])
def test_every_integration_and_mode_makes_a_form_that_reads_back(name: str, mode: AuthMode):
    """
    What a form is preset to, sent unchanged, gives the same settings: no mode is lost in its form.
    """
    shown = forms.inputs(mode)
    sent = {i.name: i.value for i in shown} | {i.other_name: i.other for i in shown}

    settings, secrets = forms.read(mode, sent)

    assert settings == {f.name: f.default for f in mode.fields if not f.is_secret}, name
    assert secrets == {}
