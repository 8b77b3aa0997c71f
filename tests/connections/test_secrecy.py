"""Where secrets must never be (rule 4): the database file, logs, outcomes, errors, representations."""

import base64
import json
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from connections_world import World

from ninelives_server import errors
from ninelives_server.connections.safe import Safe
from ninelives_server.store import audit, connections, oauth_flows
from ninelives_server.store.core import Tx


def encodings(secret: str) -> dict[str, bytes]:
    """Return a secret as it may be written down."""
    raw = secret.encode()
    return {
        "raw": raw,
        "base64": base64.b64encode(raw).rstrip(b"=")[:-1],
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "percent": quote(secret, safe="").encode(),
        "json": json.dumps(secret)[1:-1].encode(),
    }


def found(secrets: dict[str, str], places: dict[str, bytes]) -> list[str]:
    """Return `secret as encoding in place` for each secret that a place holds."""
    return [
        f"{name} as {kind} in {place}"
        for name, secret in secrets.items()
        for kind, needle in encodings(secret).items()
        for place, text in places.items()
        if needle in text
    ]


def database(tmp_path: Path) -> dict[str, bytes]:
    """Return the bytes of the database with its log."""
    return {path.name: path.read_bytes() for path in tmp_path.glob("ninelives.db*")}


async def opened(world: World, connection_id: str, flow_id: str) -> dict[str, str]:
    """Return the secrets of a connection and the verifier of a flow, opened."""
    safe = Safe(world.vault)

    def look(tx: Tx) -> dict[str, str]:
        connection = connections.by_id(tx, connection_id)
        assert connection is not None
        tokens = safe.tokens(tx, connection)
        row = oauth_flows.by_id(tx, flow_id)
        assert row is not None
        secrets = {"client secret": safe.app(tx, connection).secrets["client_secret"]}
        if row.sealed_verifier:
            secrets["verifier"] = safe.open_verifier(tx, connection, flow_id, row.sealed_verifier)
        if tokens is not None and tokens.refresh_token is not None:
            secrets |= {"access token": tokens.access_token, "refresh token": tokens.refresh_token}
        return secrets

    return await world.store.read(look)


async def test_no_secret_leaves_the_safe(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """
    A whole life with failures: afterwards neither database, logs, outcomes nor errors hold a secret in any
    usual encoding. The same search finds a planted copy of each.
    """
    connection = await world.create()
    link = await world.connections.begin(world.actor, connection.id)
    started = await world.flows.start(connection.id, link.ticket, browser=world.actor)
    secrets = {
        "ticket": link.ticket,
        "short code": link.code.replace("-", ""),
        "cookie": started.cookie_value,
    }
    secrets["state"] = parse_qs(urlsplit(started.authorize_url).query)["state"][0]
    secrets |= await opened(world, connection.id, link.flow_id)
    query = await world.visit(started)
    secrets["code"] = query["code"]
    outcome = await world.land(started, query)
    secrets |= await opened(world, connection.id, link.flow_id)
    said = [repr(x) for x in (link, started, outcome, await world.state(connection))]
    said.append(repr(await world.connections.access_token(connection.id, world.actor)))
    await world.connections.refresh(world.actor, connection.id)
    secrets |= {f"new {k}": v for k, v in (await opened(world, connection.id, link.flow_id)).items()}
    world.org.control.fail("POST", "/services/oauth2/token", 400, {"error": "server_error"})
    with pytest.raises(errors.NinelivesError) as caught:
        await world.connections.refresh(world.actor, connection.id)
    said += [str(caught.value), repr(caught.value)]
    failed = await world.started(connection)
    said.append(repr(await world.land(failed, {"state": "x", "error": "y"})))
    entries = await world.store.read(lambda tx: audit.of_org(tx, world.actor.org_id, limit=100))
    said += [repr(entry) for entry in entries]
    logged = "".join(capsys.readouterr())

    places = {**database(tmp_path), "said": "\n".join(said).encode(), "log": logged.encode()}

    assert "refresh.failed" in logged, "the log was captured"
    assert len(secrets) >= 10
    assert found(secrets, places) == []

    # The search can fail: a planted copy of each is found.
    planted = json.dumps(secrets)
    await world.store.write(
        lambda tx: audit.record(tx, world.actor, "test.planted", "x", details={"planted": planted})
    )
    seen = found(secrets, database(tmp_path))
    assert all(any(line.startswith(f"{name} as") for line in seen) for name in secrets), seen


async def test_an_app_and_its_tokens_have_no_revealing_repr(world: World):
    """A traceback with local variables, or a careless log line, must not show them."""
    connection = await world.connect()
    safe = Safe(world.vault)

    def look(tx: Tx) -> str:
        row = connections.by_id(tx, connection.id)
        assert row is not None
        return repr((safe.app(tx, row), safe.tokens(tx, row), row))

    shown = await world.store.read(look)

    assert world.org.details.client_secret not in shown
    assert (await world.connections.access_token(connection.id, world.actor)).token not in shown
