"""
Who may call a webhook: each scheme lets the right one in, and nobody else.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from event_world import World, a_request
from factories import a_trigger

from ninelives_server.errors import Unauthenticated
from ninelives_server.events import callers

SECRET = "It's a Secret to Everybody"  # noqa: S105 - that of GitHub's documentation
BODY = b"Hello, World!"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
# From https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries.
GITHUB = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def signed(body: bytes = BODY, secret: str = SECRET, algorithm: str = "sha256") -> bytes:
    return hmac.new(secret.encode(), body, algorithm).digest()


def slack(at: datetime = NOW, body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    mac = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={mac}"}


def basic(text: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


RIGHT: list[tuple[dict[str, str], dict[str, str]]] = [
    ({"scheme": "hmac"}, {"x-hub-signature-256": GITHUB}),
    ({"scheme": "hmac", "header": "X-Hub-Signature-256"}, {"x-hub-signature-256": GITHUB}),
    (
        {"scheme": "hmac", "header": "X-Shopify-Hmac-Sha256", "encoding": "base64"},
        {"x-shopify-hmac-sha256": base64.b64encode(signed()).decode()},
    ),
    (
        {"scheme": "hmac", "header": "X-Hub-Signature", "prefix": "sha1=", "algorithm": "sha1"},
        {"x-hub-signature": f"sha1={signed(algorithm='sha1').hex()}"},
    ),
    ({"scheme": "slack"}, slack()),
    ({"scheme": "token"}, {"authorization": f"Bearer {SECRET}"}),
    ({"scheme": "token", "header": "X-Gitlab-Token"}, {"x-gitlab-token": SECRET}),
    ({"scheme": "basic", "user": "ada"}, basic(f"ada:{SECRET}")),
]
WRONG: list[tuple[dict[str, str], dict[str, str], str]] = [
    ({"scheme": "hmac"}, {}, "the header x-hub-signature-256 is missing"),
    ({"scheme": "hmac"}, {"x-hub-signature-256": GITHUB[7:]}, "does not begin with 'sha256='"),
    ({"scheme": "hmac"}, {"x-hub-signature-256": "sha256=zz"}, "the signature is not right"),
    ({"scheme": "hmac"}, {"x-hub-signature-256": f"sha256={signed(b'else').hex()}"}, "not right"),
    ({"scheme": "hmac"}, {"x-hub-signature-256": f"sha256={signed(secret='x').hex()}"}, "not right"),
    ({"scheme": "hmac", "encoding": "base64"}, {"x-hub-signature-256": "sha256=\u00e9"}, "not right"),
    ({"scheme": "slack"}, slack(secret="x"), "the signature is not right"),
    ({"scheme": "slack"}, slack(NOW - timedelta(minutes=6)), "more than five minutes old"),
    ({"scheme": "slack"}, slack(NOW + timedelta(minutes=6)), "more than five minutes old"),
    ({"scheme": "slack"}, {}, "the header X-Slack-Request-Timestamp is missing"),
    ({"scheme": "token"}, {"authorization": SECRET}, "does not begin with 'Bearer'"),
    ({"scheme": "token"}, {"authorization": "Bearer no"}, "the token is not right"),
    ({"scheme": "token", "header": "X-Gitlab-Token"}, {"x-gitlab-token": ""}, "the token is not right"),
    ({"scheme": "basic", "user": "ada"}, basic("ada:no"), "user or password are not right"),
    ({"scheme": "basic", "user": "ada"}, basic(f"bob:{SECRET}"), "user or password are not right"),
    ({"scheme": "basic", "user": "ada"}, {"authorization": "Basic !"}, "user or password are not right"),
    ({"scheme": "basic", "user": "ada"}, {"authorization": f"Bearer {SECRET}"}, "user or password"),
    ({"scheme": "later"}, {}, "no auth scheme 'later'"),
]


@pytest.mark.parametrize(("auth", "headers"), RIGHT, ids=range(len(RIGHT)))
def test_who_has_the_secret_may_call(auth: Mapping[str, str], headers: Mapping[str, str]):
    """
    As GitHub, Shopify, Slack and GitLab sign, and with user and password.
    """
    callers.check(auth, SECRET, headers=headers, body=BODY, now=NOW)


@pytest.mark.parametrize(("auth", "headers", "message"), WRONG, ids=range(len(WRONG)))
def test_nobody_else_may_call(auth: Mapping[str, str], headers: Mapping[str, str], message: str):
    """
    Missing, malformed, of another body, of another secret, too old.
    """
    with pytest.raises(Unauthenticated) as caught:
        callers.check(auth, SECRET, headers=headers, body=BODY, now=NOW)

    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


async def test_a_request_without_the_credential_is_stored_nowhere(world: World):
    """
    With it, it is an event like any other.
    """
    shop = await world.shop()
    options = {"auth": {"scheme": "hmac", "secret": "HOOK_SECRET"}}
    trigger = await a_trigger(world.store, shop.project, options=options)
    world.variables.values["HOOK_SECRET"] = SECRET

    with pytest.raises(Unauthenticated):
        await world.webhooks.accept(a_request(trigger.slug, body=BODY))
    assert await world.all_events(shop.project.id) == []

    headers = [("X-Hub-Signature-256", GITHUB)]
    await world.webhooks.accept(a_request(trigger.slug, body=BODY, headers=headers))
    assert len(await world.all_events(shop.project.id)) == 1


async def test_a_secret_that_is_not_set_lets_nobody_in(world: World):
    """
    Not even who signs with the empty secret.
    """
    shop = await world.shop()
    options = {"auth": {"scheme": "hmac", "secret": "HOOK_SECRET"}}
    trigger = await a_trigger(world.store, shop.project, options=options)
    headers = [("X-Hub-Signature-256", f"sha256={signed(secret='').hex()}")]

    with pytest.raises(Unauthenticated, match="the webhook's secret is not set"):
        await world.webhooks.accept(a_request(trigger.slug, body=BODY, headers=headers))
