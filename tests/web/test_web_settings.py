"""Settings and the audit log."""

import re
from pathlib import Path

from site_world import Site, browser, served

from ninelives_server.model.actors import Role
from ninelives_server.store import workers
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault


async def test_a_token_is_shown_once_and_works(site: Site):
    """
    The page that makes it is the only one that shows it.
    """
    made = await site.post("/settings/tokens", name="ci", scope="read")
    token = re.search(r'id="made-token"|value="(nl_[^"]+)"', made.text)
    secret = re.search(r'value="(nl_[^"]+)"', made.text)[1]
    later = await site.text("/settings")
    async with browser(site.url) as client:
        who = await client.get("/api/v1/whoami", headers={"Authorization": f"Bearer {secret}"})

    assert token
    assert secret not in later
    assert ">ci<" in later
    assert who.json()["scopes"] == ["read"]


async def test_a_revoked_token_is_useless_at_once(site: Site):
    """
    The next request with it is refused.
    """
    made = await site.post("/settings/tokens", name="ci", scope="all")
    secret = re.search(r'value="(nl_[^"]+)"', made.text)[1]
    token = next(t for t in await site.services.access.list_tokens(site.actor) if t.name == "ci")

    html = await site.after(await site.post(f"/settings/tokens/{token.id}/revoke"))
    async with browser(site.url) as client:
        who = await client.get("/api/v1/whoami", headers={"Authorization": f"Bearer {secret}"})

    assert "The token is revoked" in html
    assert who.status_code == 401


async def test_a_token_without_a_name_is_refused_in_words(site: Site):
    """
    The page comes back with the reason.
    """
    answer = await site.post("/settings/tokens", name=" ", scope="all")

    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


async def test_users_are_made_by_administrators(site: Site):
    """
    They learn how the new user logs in; others do not even see the form.
    """
    html = await site.after(await site.post("/settings/users", name="grace", role="viewer"))
    async with site.somebody("mel", Role.MEMBER, site.actor.org_id) as mel:
        page = await mel.get("/settings")
        refused = await mel.post("/settings/users", data={"name": "x", "role": "admin"})

    assert "ninelives login --web grace" in html
    assert "New user" not in page.text
    assert refused.status_code == 403


async def test_the_audit_log_tells_who_did_what(site: Site):
    """
    Newest first, in pages, of one project where that is asked.
    """
    await site.post("/projects", name="first_one")
    await site.post("/projects", name="second_one")

    html = await site.text("/audit")
    one = await site.text("/audit?project=first_one")

    assert html.count("project.created") == 2
    assert one.count("project.created") == 1
    assert "user.logged_in" in html


async def test_addresses_that_services_refuse_are_said(sqlite: Store, vault: Vault, tmp_path: Path):
    """
    A plain http address of the network is an error that names the two ways out; localhost is none.
    """
    async with served(sqlite, vault, tmp_path, public_url="http://192.168.1.5:9980") as site:
        html = await site.text("/settings")
    async with served(sqlite, vault, tmp_path / "local") as site:
        local = await site.text("/settings")

    assert "NINELIVES_PUBLIC_URL" in html
    assert "flash bad" in html
    assert "flash bad" not in local
    assert "Browsers may come back to this address" in local


async def test_workers_are_listed_with_their_slots_in_use(site: Site):
    """
    Without one, the page says that nothing runs; with one, how busy it is and what keeps project code apart.
    """
    before = await site.text("/settings")
    await site.services.store.write(
        lambda tx: workers.connected(
            tx, "wrk-1", name="big", slots=4, python="3.11", isolation="landlock", release="3.4.5"
        )
    )
    project, _ = await site.project()
    await site.claim((await site.session(project)).id)

    after = await site.text("/settings")
    [listed] = await site.services.sessions.workers(site.actor)

    assert "No worker is connected" in before
    assert "1 of 4" in after
    assert "landlock" in after
    assert "3.4.5" in after
    assert (listed.name, listed.used, listed.slots) == ("big", 1, 4)
