"""Renders the templates beside this file."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ninelives_server.testing.fake_salesforce.http import Reply, html_reply


@cache
def _environment() -> Environment:
    loader = PackageLoader("ninelives_server.testing.fake_salesforce.pages", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def page(template: str, *, status: int = 200, **values: Any) -> Reply:
    """Return a page made from a template."""
    return html_reply(_environment().get_template(template).render(**values), status=status)
