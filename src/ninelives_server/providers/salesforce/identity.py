"""Whose tokens these are: the identity URL names org and user, userinfo and one query add their names.

Salesforce answers userinfo to tokens with the scope `api` too, so no further scope is asked for.
"""

from collections.abc import Mapping
from urllib.parse import urlencode

from ninelives_server.integrations.contract import Diagnosis, Identity
from ninelives_server.model.connections import Account
from ninelives_server.oauth import grants
from ninelives_server.oauth.messages import Answer, Flow
from ninelives_server.oauth.outcomes import Kind, Refusal, clean
from ninelives_server.oauth.tokens import TokenSet
from ninelives_server.providers.salesforce import errors, ids

#: Of the REST API; a version lives for years, and all calls here exist in every one that does.
API = "/services/data/v62.0"
_ORG = f"{API}/query?{urlencode({'q': 'SELECT Id, Name FROM Organization LIMIT 1'})}"


def instance_url(tokens: TokenSet) -> str:
    """Return the API's base address from the newest token answer; without a trailing slash."""
    return tokens.extra.get("instance_url", "").rstrip("/")


def identify(tokens: TokenSet) -> Flow[Identity | Refusal]:
    """Find out org and user; what only adds names may fail and is told as trouble.

    Returns:
        A refusal only where not even the ids are known.
    """
    url = instance_url(tokens)
    known = ids.from_identity(tokens.extra.get("id", ""))
    info = yield from grants.userinfo(f"{url}/services/oauth2/userinfo", tokens.access_token)
    trouble: Diagnosis | None = None
    if isinstance(info, Answer):
        refusal = errors.from_api(info)
        if known is None:
            return refusal
        trouble, info = errors.diagnose(refusal), {}
    found = known or _ids_of(info)
    if found is None:
        return Refusal(
            kind=Kind.TRANSIENT, error="", description="Salesforce did not say whose tokens they are"
        )
    name, failed = yield from _org_name(url, tokens)
    account = Account(
        org_id=found[0],
        org_name=name,
        user=clean(info.get("preferred_username"), 120) or found[1],
        user_id=found[1],
        instance_url=url,
        scopes=tokens.scopes,
    )
    return Identity(account=account, account_key=f"{found[0]}:{found[1]}", trouble=failed or trouble)


def _ids_of(info: Mapping[str, object]) -> tuple[str, str] | None:
    org, user = clean(info.get("organization_id"), 18), clean(info.get("user_id"), 18)
    return (ids.long(org), ids.long(user)) if org.startswith("00D") and user else None


def _org_name(url: str, tokens: TokenSet) -> Flow[tuple[str, Diagnosis | None]]:
    answer = yield grants.bearer("GET", url + _ORG, tokens.access_token)
    if not answer.ok:
        refusal = errors.from_api(answer)
        # Who may not read Organization may do everything else; a token that the API refuses may do nothing.
        harmless = refusal.kind is Kind.TRANSIENT or refusal.error in {"INVALID_TYPE", "INVALID_FIELD"}
        return "", None if harmless else errors.diagnose(refusal)
    records = answer.document().get("records")
    first = records[0] if isinstance(records, list) and records else {}
    return clean(first.get("Name") if isinstance(first, dict) else None, 120), None
