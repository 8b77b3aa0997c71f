"""The validator finds each mistake that it is for."""

from dataclasses import replace

import pytest

from ninelives_server.integrations import check
from ninelives_server.integrations.contract import AuthMode, Choice, Field
from ninelives_server.integrations.hosts import HostRule
from ninelives_server.providers.salesforce.integration import Salesforce

GOOD = AuthMode(name="key", title="Key", fields=(Field(name="a", label="A"),), uses_oauth=False)


def broken(**changes: object) -> Salesforce:
    """An integration with something wrong."""
    found = Salesforce()
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def with_field(**changes: object) -> Salesforce:
    """An integration whose one field has something wrong."""
    field = replace(Field(name="a", label="A"), **changes)  # type: ignore[arg-type]
    return broken(auth_modes=[replace(GOOD, fields=(field,))])


@pytest.mark.parametrize(
    ("integration", "text"),
    [
        (broken(name="Sales Force"), "identifier"),
        (broken(title=""), "title"),
        (broken(docs_url="example"), "docs_url"),
        (broken(auth_modes=[]), "no auth mode"),
        (broken(auth_modes=[GOOD, GOOD]), "same name"),
        (broken(auth_modes=[replace(GOOD, fields=GOOD.fields * 2)]), "same name"),
        (broken(host_rule=lambda: HostRule(suffixes=("*.acme.com",))), "plain domain"),
        (with_field(label=""), "label"),
        (with_field(kind="password"), "kind"),
        (with_field(kind="secret", default="x"), "default"),
        (with_field(kind="choice"), "choices"),
        (with_field(choices=(Choice(value="x", label="X"),)), "choices"),
        (with_field(kind="choice", choices=(Choice(value="x", label="X"),), default="y"), "its default"),
        (with_field(other_label="Other"), "other_label"),
    ],
)
def test_a_mistake_is_named(integration: Salesforce, text: str):
    """With the integration's name in front."""
    found = check.problems(integration)

    assert any(text in problem for problem in found), found
    assert all(problem.startswith(f"{integration.name}: ") for problem in found)
