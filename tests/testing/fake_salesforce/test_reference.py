"""The reference names everything that one can use."""

import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from ninelives_server.testing.fake_salesforce.behaviour import Behaviour
from ninelives_server.testing.fake_salesforce.command import command
from ninelives_server.testing.fake_salesforce.control.desk import Desk
from ninelives_server.testing.fake_salesforce.main import Details

PAGE = (Path(__file__).parents[3] / "docs/reference/fake-salesforce.md").read_text()

NAMES = [
    *(f.name for f in fields(Behaviour)),
    *(f.name for f in fields(Details)),
    *(name for name, _ in inspect.getmembers(Desk, inspect.isfunction) if not name.startswith("_")),
    *(option for parameter in command.params for option in parameter.opts),
]


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_names(name: str) -> None:
    """
    Switches, control methods, options and the keys of the first line are documented.
    """
    assert f"`{name}" in PAGE
