"""The doctor's questions to Salesforce: one named check for each thing that gets in the way in practice."""

from collections.abc import Sequence
from urllib.parse import urlencode

from ninelives_server.integrations.contract import Check
from ninelives_server.oauth import grants
from ninelives_server.oauth.messages import Answer, Flow
from ninelives_server.oauth.tokens import TokenSet
from ninelives_server.providers.salesforce import catalogue, errors
from ninelives_server.providers.salesforce.identity import API, instance_url

_SELECTED = f"{API}/tooling/query?" + urlencode(
    {"q": "SELECT SelectedEntity FROM PlatformEventChannelMember"}
)


def examine(tokens: TokenSet) -> Flow[Sequence[Check]]:
    """Ask one thing after the other; stop asking where the token itself is refused."""
    found = [_scopes(tokens)]
    info = yield from grants.userinfo(f"{instance_url(tokens)}/services/oauth2/userinfo", tokens.access_token)
    if isinstance(info, Answer):
        return [*found, _failed("identity", info)]
    user = info.get("preferred_username", "?")
    found.append(Check(name="identity", status="ok", message=f"Salesforce knows the token as {user}'s"))
    limits = yield grants.bearer("GET", f"{instance_url(tokens)}{API}/limits/", tokens.access_token)
    found += _api(limits)
    if limits.status == 401:
        return found
    selected = yield grants.bearer("GET", f"{instance_url(tokens)}{_SELECTED}", tokens.access_token)
    return [*found, _events(selected)]


def _scopes(tokens: TokenSet) -> Check:
    scopes = set(tokens.scopes)
    missing = [] if scopes & {"api", "full"} else ["api"]
    if not scopes & {"refresh_token", "offline_access"}:
        missing.append("refresh_token")
    if not missing:
        return Check(name="scopes", status="ok", message=f"granted: {' '.join(tokens.scopes)}")
    return Check(
        name="scopes",
        status="failed",
        message=f"not granted: {' '.join(missing)}",
        next_step=catalogue.OFFLINE if "refresh_token" in missing else catalogue.PERMIT,
    )


def _api(answer: Answer) -> list[Check]:
    # The limits are for users with View Setup; whoever has not that permission may still use the API.
    if answer.status == 403 and errors.from_api(answer).error in {"INSUFFICIENT_ACCESS", "FORBIDDEN"}:
        return [
            Check(
                name="api",
                status="ok",
                message="the REST API answers (its limits are not shown to this user)",
            )
        ]
    if not answer.ok:
        return [_failed("api", answer)]
    daily = answer.document().get("DailyApiRequests")
    found = [Check(name="api", status="ok", message="the REST API answers")]
    if (
        isinstance(daily, dict)
        and isinstance(daily.get("Remaining"), int)
        and isinstance(daily.get("Max"), int)
    ):
        found.append(_calls(daily["Remaining"], daily["Max"]))
    return found


def _calls(remaining: int, most: int) -> Check:
    low = most > 0 and remaining < most // 10
    return Check(
        name="limits",
        status="warning" if low else "ok",
        message=f"{remaining} of {most} API calls are left today",
        next_step="See Setup > Company Information > API Requests, Last 24 Hours" if low else "",
    )


def _events(answer: Answer) -> Check:
    records = answer.document().get("records")
    if not answer.ok or not isinstance(records, list):
        return Check(
            name="change data capture",
            status="skipped",
            message="this user may not see what is selected in Setup > Change Data Capture",
        )
    names = sorted({str(r.get("SelectedEntity")) for r in records if isinstance(r, dict)})
    if names:
        return Check(name="change data capture", status="ok", message=f"selected: {', '.join(names)}")
    return Check(
        name="change data capture",
        status="warning",
        message="no entity is selected in Setup > Change Data Capture, so no change is sent",
        next_step="Select the entities that your triggers name, if you have such triggers",
    )


def _failed(name: str, answer: Answer) -> Check:
    diagnosis = errors.diagnose(errors.from_api(answer))
    words = f" ({diagnosis.provider_words})" if diagnosis.provider_words else ""
    return Check(
        name=name,
        status="failed",
        message=diagnosis.message + words,
        next_step=diagnosis.next_steps[0] if diagnosis.next_steps else "",
    )
