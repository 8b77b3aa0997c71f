"""Two projects with two apps of two orgs, side by side: nothing of one appears in the other."""

import asyncio
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import factories
from connections_world import CALLBACK, World

from ninelives_server.connections.flows import Outcome, Started
from ninelives_server.integrations.http import Outbound, tls_context
from ninelives_server.model.connections import ConnectionState
from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce
from ninelives_server.testing.fake_salesforce.visitor import Visitor


def both_trusted(first: Path, second: Path, directory: Path) -> Path:
    """Return a file with both orgs' authorities."""
    bundle = directory / "both.pem"
    bundle.write_bytes(first.read_bytes() + second.read_bytes())
    assert tls_context(bundle)
    return bundle


async def test_two_orgs_two_apps_two_projects(world: World, tmp_path: Path):
    """
    Both are authorised at the same time in one browser; each request of each org carries that org's app only,
    and each session sees its own account only.
    """
    other_project = await factories.a_project(world.store, world.vault, world.actor, name="other")
    async with FakeSalesforce.start(callbacks=[CALLBACK]) as second:
        bundle = both_trusted(world.org.ca_file, second.ca_file, tmp_path)
        world.http = Outbound(ca_file=bundle, insecure_hosts=frozenset({"localhost"}))
        world.assemble()
        mine = await world.create("crm")
        theirs = await world.connections.create(
            world.actor,
            other_project.id,
            "crm",
            "salesforce",
            settings={"client_id": second.details.client_id, "environment": second.details.login_url},
            secrets={"client_secret": second.details.client_secret},
        )
        started = [await world.started(mine), await world.started(theirs)]
        cookies = {s.cookie_name: s.cookie_value for s in started}

        outcomes = await asyncio.gather(
            land(world, world.org, started[0], cookies), land(world, second, started[1], cookies)
        )

        assert all(outcome.ok for outcome in outcomes), outcomes
        one, two = await world.state(mine), await world.state(theirs)
        assert one.account is not None
        assert two.account is not None
        assert one.account.org_id == world.org.details.org_id
        assert two.account.org_id == second.details.org_id
        assert one.account_key != two.account_key
        for org, foreign in ((world.org, second), (second, world.org)):
            sent = repr(org.control.requests())
            assert foreign.details.client_id not in sent
        env_one, masked_one = await world.store.write(
            lambda tx: world.connections.session_environment(tx, world.project.id)
        )
        env_two, masked_two = await world.store.write(
            lambda tx: world.connections.session_environment(tx, other_project.id)
        )
        assert env_one["crm__instance_url"] == world.org.details.instance_url
        assert env_two["crm__instance_url"] == second.details.instance_url
        assert not masked_one & masked_two
        await world.connections.disconnect(world.actor, mine.id)
        assert (await world.connections.test(world.actor, theirs.id)).ok
        assert two.state is ConnectionState.OK


async def land(world: World, org: FakeSalesforce, started: Started, cookies: dict[str, str]) -> Outcome:
    """Go through one org's pages and come back with the cookies of both flows."""
    details = org.details

    def visit() -> str:
        with Visitor(
            username=details.username, password=details.password, ca_file=details.ca_file
        ) as visitor:
            return visitor.authorize(started.authorize_url)

    query = dict(parse_qsl(urlsplit(await asyncio.to_thread(visit)).query))
    finished = await world.flows.finish("salesforce", query, cookies)
    return await world.flows.outcome(finished.page, cookies)
