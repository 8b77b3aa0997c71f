"""Guides that forms link to."""

import pytest
from site_world import Site

from ninelives_server.integrations.registry import Registry
from ninelives_server.web import guides


async def test_every_guide_that_an_integration_names_is_here(site: Site):
    """
    The form's link works on a machine without a network.
    """
    for integration in Registry.load().all():
        if integration.docs_url.startswith("/docs/"):
            html = await site.text(integration.docs_url)
            assert '<article class="prose">' in html


@pytest.mark.parametrize("path", ["../../app", "..%2fapp", "integrations", "x", "integrations/salesforce/"])
async def test_nothing_else_can_be_read_by_a_path(site: Site, path: str):
    """
    A path is made of plain words; whatever else it holds, there is no such guide.
    """
    assert (await site.get(f"/docs/{path}")).status_code == 404


def test_markdown_becomes_a_page_without_markup_of_its_own():
    """
    Headings can be linked to, links to pages that are not here lose their link, HTML stays text.
    """
    title, html = guides.render(
        "# The *guide*\n\nSee [below](#what-to-do), [more](../more.md) and [them](https://example.com).\n\n"
        "<script>x</script>\n\n## What to do\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        '!!! warning "Careful"\n    One **thing**\n\nAfter\n'
    )

    assert title == "The *guide*"
    assert '<h2 id="what-to-do">What to do</h2>' in html
    assert '<a href="#what-to-do">below</a>, more and <a href="https://example.com">them</a>' in html
    assert "<script>" not in html
    assert "<td>1</td>" in html
    assert "<blockquote>" in html
    assert "<strong>Careful</strong>" in html
    assert "One <strong>thing</strong>" in html
