"""The doctor's checks, each with the answer that makes it say something."""

from collections.abc import Mapping

from ninelives_server.integrations.contract import Check
from ninelives_server.oauth.messages import Answer
from ninelives_server.oauth.tokens import TokenSet
from ninelives_server.providers.salesforce import doctor

TOKENS = TokenSet(
    access_token="t",
    scopes=("api", "refresh_token"),
    extra={"instance_url": "https://acme.my.salesforce.com"},
)
GOOD: Mapping[str, Answer] = {
    "userinfo": Answer(status=200, body=b'{"preferred_username": "ada@acme.test"}'),
    "limits": Answer(status=200, body=b'{"DailyApiRequests": {"Max": 15000, "Remaining": 14000}}'),
    "tooling": Answer(status=200, body=b'{"records": [{"SelectedEntity": "LeadChangeEvent"}]}'),
}


def examined(tokens: TokenSet = TOKENS, **changes: Answer) -> dict[str, Check]:
    """Play the examination; return the checks by name."""
    answers = {**GOOD, **changes}
    flow = doctor.examine(tokens)
    request = next(flow)
    while True:
        try:
            request = flow.send(next(a for part, a in answers.items() if part in request.url))
        except StopIteration as end:
            return {check.name: check for check in end.value}


def test_all_is_well():
    """Five checks, all ok."""
    found = examined()

    assert set(found) == {"scopes", "identity", "api", "limits", "change data capture"}
    assert {check.status for check in found.values()} == {"ok"}
    assert "ada@acme.test" in found["identity"].message


def test_a_missing_scope_names_where_to_add_it():
    """Without `refresh_token` access ends within hours."""
    found = examined(TokenSet(access_token="t", scopes=("api",), extra=TOKENS.extra))

    assert found["scopes"].status == "failed"
    assert "refresh_token" in found["scopes"].next_step


def test_a_refused_token_ends_the_examination():
    """Nothing else can be known then."""
    found = examined(userinfo=Answer(status=403, body=b"Bad_OAuth_Token"))

    assert set(found) == {"scopes", "identity"}
    assert found["identity"].status == "failed"


def test_an_api_that_is_closed_to_the_user():
    """The permission is named."""
    body = b'[{"errorCode": "API_CURRENTLY_DISABLED", "message": "API is disabled for this User"}]'
    found = examined(limits=Answer(status=403, body=body))

    assert found["api"].status == "failed"
    assert "API Enabled" in found["api"].next_step


def test_limits_that_the_user_may_not_see_are_no_trouble():
    """They need View Setup; the API works without."""
    body = b'[{"errorCode": "INSUFFICIENT_ACCESS", "message": "insufficient access"}]'
    found = examined(limits=Answer(status=403, body=body))

    assert found["api"].status == "ok"


def test_few_calls_left_is_a_warning():
    """Before the day's allocation is gone."""
    found = examined(
        limits=Answer(status=200, body=b'{"DailyApiRequests": {"Max": 15000, "Remaining": 100}}')
    )

    assert found["limits"].status == "warning"


def test_nothing_selected_for_change_data_capture_is_a_warning():
    """A new org sends no change events at all."""
    found = examined(tooling=Answer(status=200, body=b'{"records": []}'))

    assert found["change data capture"].status == "warning"
    assert "Setup > Change Data Capture" in found["change data capture"].message


def test_a_user_who_may_not_look_skips_the_check():
    """Not knowing is no failure."""
    found = examined(tooling=Answer(status=403, body=b"[]"))

    assert found["change data capture"].status == "skipped"
