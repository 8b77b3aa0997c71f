"""Logging in and out."""

import pytest
from site_world import Site, browser

from ninelives_server.web import guards


async def test_looking_at_a_link_does_not_use_it_up(site: Site):
    """
    Mail scanners and previews open links; only the button logs in, and only once.
    """
    secret = await site.services.access.login_link(site.actor)
    async with browser(site.url) as client:
        first = await client.get(f"/login?token={secret}")
        again = await client.get(f"/login?token={secret}")
        used = await client.post("/login", data={"token": secret})
        spent = await client.post("/login", data={"token": secret})
        late = await client.get(f"/login?token={secret}")

    assert "Log in as admin" in first.text
    assert "Log in as admin" in again.text
    assert used.status_code == 303
    assert spent.status_code == late.status_code == 410
    assert "ninelives login --web" in late.text
    assert secret not in late.text


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(site: Site):
    """
    HttpOnly and SameSite=Lax, for fourteen days; not Secure, because this is plain http on localhost.
    """
    secret = await site.services.access.login_link(site.actor)
    async with browser(site.url) as client:
        answer = await client.post("/login", data={"token": secret})

    [cookie] = [c for c in answer.headers.get_list("set-cookie") if c.startswith(guards.LOGIN_COOKIE)]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age=1209600" in cookie
    assert "Path=/;" in cookie
    assert "Secure" not in cookie


async def test_who_is_not_logged_in_is_led_to_the_login_and_back(site: Site):
    """
    A link to a page that somebody sent still leads there after the login.
    """
    async with browser(site.url) as client:
        sent_away = await client.get("/sessions?state=error")
        page = await client.get(sent_away.headers["location"])
        secret = await site.services.access.login_link(site.actor)
        back = await client.post("/login", data={"token": secret})

    assert sent_away.status_code == 303
    assert "ninelives login --web" in page.text
    assert page.headers["referrer-policy"] == "no-referrer"
    assert back.headers["location"] == "/sessions?state=error"


@pytest.mark.parametrize("wanted", ["//evil.example", "/\\evil.example", "https://evil.example", "x"])
async def test_the_way_back_stays_on_this_server(site: Site, wanted: str):
    """
    The cookie that remembers it may have been planted; it must never lead elsewhere.
    """
    secret = await site.services.access.login_link(site.actor)
    async with browser(site.url) as client:
        client.cookies.set(guards.NEXT_COOKIE, wanted)
        back = await client.post("/login", data={"token": secret})

    assert back.headers["location"] == "/"


async def test_logging_out_ends_the_login_on_the_server(site: Site):
    """
    The old cookie is good for nothing afterwards, even where somebody kept it.
    """
    kept = dict(site.browser.cookies)

    answer = await site.post("/logout")
    async with browser(site.url) as client:
        client.cookies.update(kept)
        after = await client.get("/")

    assert answer.status_code == 303
    assert after.status_code == 303
    assert after.headers["location"] == "/login"
