"""Salesforce's words: each text that is known leads to who can act, and to the right next step."""

import pytest

from ninelives_server.model.connections import ConnectionState
from ninelives_server.oauth.messages import Answer
from ninelives_server.oauth.outcomes import Kind, Refusal, from_answer
from ninelives_server.providers.salesforce import catalogue, errors

REAUTH, ADMIN, DEGRADED = ConnectionState.NEEDS_REAUTH, ConnectionState.NEEDS_ADMIN, ConnectionState.DEGRADED


def token_error(error: str, description: str, status: int = 400) -> Refusal:
    """A refusal as the token endpoint gives it."""
    body = f'{{"error": "{error}", "error_description": "{description}"}}'
    return from_answer(Answer(status=status, body=body.encode()))


@pytest.mark.parametrize(
    ("error", "description", "state", "says"),
    [
        ("invalid_grant", "expired access/refresh token", REAUTH, "Reconnect"),
        ("invalid_grant", "token validity expired", REAUTH, "valid until revoked"),
        ("invalid_grant", "inactive user", REAUTH, "activate the user"),
        ("invalid_grant", "expired authorization code", REAUTH, "Start again"),
        ("invalid_grant", "invalid authorization code", REAUTH, "Start again"),
        ("invalid_grant", "invalid code verifier", REAUTH, "Start again"),
        ("invalid_request", "invalid code verifier", REAUTH, "Start again"),
        ("invalid_grant", "ip restricted", ADMIN, "Relax IP"),
        ("invalid_grant", "ip restricted or invalid login hours", ADMIN, "login hours"),
        ("invalid_grant", "user hasn't approved this consumer", REAUTH, "Reconnect"),
        ("invalid_grant", "authentication failure", REAUTH, "Reconnect"),
        ("invalid_grant", "request not supported on this domain", ADMIN, "My Domain"),
        ("invalid_client_id", "client identifier invalid", ADMIN, "ten minutes"),
        ("invalid_client", "invalid client credentials", ADMIN, "Consumer Key and Secret"),
        ("invalid_app_access", "user is not admin approved to access this app", ADMIN, "Permitted Users"),
        ("redirect_uri_mismatch", "redirect_uri must match configuration", ADMIN, "callback URL"),
        ("unsupported_grant_type", "grant type not supported", ADMIN, "Flow Enablement"),
        ("unauthorized_client", "", ADMIN, "Flow Enablement"),
        (
            "invalid_request",
            "refresh_token scope is required and the connected app should be installed and preauthorized.",
            ADMIN,
            "refresh_token, offline_access",
        ),
        ("invalid_scope", "the requested scope is not allowed", ADMIN, "scopes"),
        ("inactive_user", "user is inactive", REAUTH, "activate the user"),
        ("inactive_org", "organization is inactive", ADMIN, "state of the org"),
        ("rate_limit_exceeded", "login rate exceeded", DEGRADED, "tried again"),
        ("invalid_grant", "token request is already being processed", DEGRADED, "tried again"),
        ("unknown_error", "retry your request", DEGRADED, "tried again"),
        ("OAUTH_APP_BLOCKED", "this app is blocked by admin", ADMIN, "Connected Apps OAuth Usage"),
        ("OAUTH_APPROVAL_ERROR_GENERIC", "x", ADMIN, "Approve Uninstalled Connected Apps"),
        ("OAUTH_APP_ACCESS_DENIED", "x", ADMIN, "Permitted Users"),
        ("OAUTH_EC_APP_NOT_FOUND", "x", ADMIN, "sandbox"),
        ("access_denied", "end-user denied authorization", REAUTH, "Allow"),
        ("access-denied", "end-user denied authorization", REAUTH, "Allow"),
        ("no_refresh_token", "", ADMIN, "refresh_token, offline_access"),
    ],
)
def test_each_known_text_says_who_acts_and_what_to_do(
    error: str, description: str, state: ConnectionState, says: str
):
    """The provider's words are kept; the steps name Salesforce's own menus."""
    found = errors.diagnose(token_error(error, description))

    assert found.state is state
    assert says in " ".join(found.next_steps)
    assert error in found.provider_words


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_dead_grant_that_comes_with_a_5xx_is_not_believed(status: int):
    """Terminal states need an answer that means it."""
    refusal = token_error("invalid_grant", "expired access/refresh token", status)

    assert errors.classified(refusal).kind is Kind.TRANSIENT
    assert errors.diagnose(refusal).state is DEGRADED


@pytest.mark.parametrize("status", [404, 420, 503])
def test_pages_of_the_edge_are_hiccups(status: int):
    """`We are setting things up`, `URL No Longer Exists`, `Down for Maintenance`."""
    found = errors.diagnose(from_answer(Answer(status=status, body=b"<html>We are setting things up</html>")))

    assert found.state is DEGRADED


@pytest.mark.parametrize(
    ("status", "body", "state", "says"),
    [
        (
            401,
            '[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]',
            REAUTH,
            "accept",
        ),
        (
            401,
            '[{"message":"This session is not valid for use with the REST API","errorCode":"INVALID_SESSION_ID"}]',
            ADMIN,
            "would not change",
        ),
        (
            401,
            '[{"message":"Connected app is not attached to Agent","errorCode":"INVALID_SESSION_ID"}]',
            ADMIN,
            "use the API",
        ),
        (
            403,
            '[{"errorCode":"API_DISABLED_FOR_ORG","message":"The REST API is not enabled for this Organization."}]',
            ADMIN,
            "not enabled",
        ),
        (
            403,
            '[{"errorCode":"API_CURRENTLY_DISABLED","message":"API is disabled for this User"}]',
            ADMIN,
            "may not use the API",
        ),
        (
            403,
            '[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests Limit exceeded."}]',
            DEGRADED,
            "API calls",
        ),
        (403, "Bad_OAuth_Token", REAUTH, "accept"),
        (403, "Missing_OAuth_Token", REAUTH, "accept"),
        (403, '[{"errorCode":"SOMETHING","message":"new"}]', ADMIN, "setting"),
        (420, "<html>We are setting things up</html>", DEGRADED, "usable"),
        (503, "<html>Down for Maintenance</html>", DEGRADED, "usable"),
        (406, "", DEGRADED, "usable"),
        (401, "", REAUTH, "refuses"),
    ],
)
def test_errors_of_the_api_are_read_in_every_shape(status: int, body: str, state: ConnectionState, says: str):
    """An array, plain text, a page, nothing."""
    found = errors.diagnose(errors.from_api(Answer(status=status, body=body.encode())))

    assert found.state is state
    assert says in found.message


def test_an_api_that_does_not_answer_is_a_hiccup():
    """No network is nobody's fault."""
    found = errors.diagnose(errors.from_api(Answer(status=0, failure="x cannot be reached: refused")))

    assert found.state is DEGRADED
    assert "cannot be reached" in found.provider_words


def test_every_row_of_the_table_can_be_reached():
    """A row behind one that fits everything it is for would never be shown."""
    for entry in catalogue.TABLE:
        name = entry.names[0] if entry.names else "any_other_name"
        refusal = Refusal(kind=Kind.REFUSED, error=name, description=entry.phrase, status=400)
        first = next(e for e in catalogue.TABLE if e.fits(refusal))
        assert first is entry, (name, entry.phrase, first.names, first.phrase)


def test_every_row_says_what_to_do():
    """No sentence without a way out, no full stop at the end, no `Error:`."""
    for entry in catalogue.TABLE:
        assert entry.steps
        for text in (entry.message, *entry.steps):
            assert not text.endswith(".")
            assert not text.lower().startswith("error")
