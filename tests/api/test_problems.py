"""Errors as problem documents."""

import inspect
import re
from pathlib import Path

import pytest

from ninelives_server import errors
from ninelives_server.api import problems

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/api.md").read_text()


def all_errors():
    return [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.NinelivesError)]


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_code_is_documented_with_its_status(kind):
    """
    A program may rely on a code; so it is on the page, with the status that the API sends.
    """
    status = problems.status_of(kind("message"))

    assert re.search(rf"\| `{kind.code}` \| {status} \|", PAGE)
