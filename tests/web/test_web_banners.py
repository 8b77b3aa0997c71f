"""Banners: what everybody who looks at a page has to know about this server, and what concerns nobody."""

from pathlib import Path

import pytest
from site_world import Site, browser, served

from ninelives_server.engine.starter import Starter
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault

AWAY = "sessions that wait for a time, or for workers of other servers, are late until it does"
INSECURE = "this server also calls services without https on"


async def test_a_temporal_that_is_away_is_said_on_every_page(site: Site):
    """
    With its address, because nothing starts until it answers; here nobody listens there.
    """
    await site.project()

    for path in ("/", "/projects/lead_router", "/projects/lead_router/sessions", "/settings"):
        html = await site.text(path)
        assert AWAY in html, path
        assert "Temporal at 127.0.0.1:9 (namespace default) does not answer" in html, path


async def test_a_temporal_that_answers_is_not_spoken_of(site: Site, monkeypatch: pytest.MonkeyPatch):
    """
    The banner goes when it is back.
    """
    monkeypatch.setattr(Starter, "is_connected", True)

    assert AWAY not in await site.text("/")


async def test_who_is_not_logged_in_does_not_learn_where_temporal_is(site: Site):
    """
    The login page is everybody's.
    """
    async with browser(site.url) as stranger:
        html = (await stranger.get("/login")).text

    assert "Temporal" not in html


async def test_a_server_that_allows_insecure_providers_says_so_with_their_hosts(
    sqlite: Store, vault: Vault, tmp_path: Path
):
    """
    Also before login: nobody should take it for one that is fit for real accounts.
    """
    given = {"allow_insecure_providers": True, "insecure_hosts": "127.0.0.1,crm.test"}
    async with served(sqlite, vault, tmp_path, **given) as site:
        inside = await site.text("/")
        async with browser(site.url) as stranger:
            outside = (await stranger.get("/login")).text

    for html in (inside, outside):
        assert f"{INSECURE} 127.0.0.1, crm.test" in html


async def test_a_server_that_allows_none_has_no_such_banner(site: Site):
    """
    It would make people used to it.
    """
    assert INSECURE not in await site.text("/")
