"""The registry finds what lies in the providers' folder, and nothing imports it by name."""

import pytest

from ninelives_server.errors import Invalid
from ninelives_server.integrations.registry import Registry


def test_salesforce_is_found():
    """A folder with `integration.py` is an integration."""
    registry = Registry.load()

    assert registry.get("salesforce").title == "Salesforce"
    assert [i.name for i in registry.all()] == sorted(i.name for i in registry.all())


def test_an_unknown_name_lists_the_known_ones():
    """The message is the way out."""
    with pytest.raises(Invalid, match="there is .*salesforce") as caught:
        Registry.load().get("saleforce")

    assert "integration" in caught.value.fields


def test_the_first_mode_is_the_default():
    """It is what a manifest's connection gets."""
    registry = Registry.load()

    assert registry.mode("salesforce").name == "oauth_private"
    with pytest.raises(Invalid, match="oauth_private"):
        registry.mode("salesforce", "magic")


def test_a_source_of_events_is_found_beside_the_integration():
    """`events.py` with an object `source`."""
    assert Registry.load().source("salesforce") is not None
    assert Registry([]).all() == []
