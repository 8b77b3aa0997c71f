"""A pytest plugin with the fixture `fake_salesforce`; name this module in `pytest_plugins`."""

from collections.abc import Iterator

import pytest

from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce


@pytest.fixture
def fake_salesforce() -> Iterator[FakeSalesforce]:
    """Return a new Salesforce org that serves on ports of its own for the length of one test."""
    with FakeSalesforce.start(http_port=0) as org:
        yield org
