"""Who is behind a token: userinfo, the identity URL, introspection, revocation and discovery."""

from collections.abc import Mapping
from typing import Any

from ninelives_server.testing.fake_salesforce import sfid, times
from ninelives_server.testing.fake_salesforce.behaviour import pair
from ninelives_server.testing.fake_salesforce.faults import OAuthError
from ninelives_server.testing.fake_salesforce.grants import AccessToken
from ninelives_server.testing.fake_salesforce.http import Call, Reply, json_reply, text_reply
from ninelives_server.testing.fake_salesforce.oauth import jws
from ninelives_server.testing.fake_salesforce.oauth.answers import scope_text
from ninelives_server.testing.fake_salesforce.oauth.token import known_app
from ninelives_server.testing.fake_salesforce.org import Org

_SCOPES_SUPPORTED = (
    "cdp_ingest_api", "custom_permissions", "refresh_token", "offline_access", "full", "api", "chatter_api",
    "visualforce", "web", "id", "openid", "profile", "email", "address", "phone", "lightning", "content",
)  # fmt: skip
_IDENTITY_SCOPES = {"id", "openid", "api", "full", "web"}


def _session(org: Org, call: Call) -> AccessToken | str:
    """Return the session of a request, or the text of the 403 that these endpoints answer with."""
    value = call.token() or call.query.get("oauth_token") or call.form().get("oauth_token")
    if not value:
        return "Missing_OAuth_Token"
    token = org.session(value)
    if token is None or not _IDENTITY_SCOPES & set(token.scopes):
        return "Bad_OAuth_Token"
    return token


def userinfo(org: Org, call: Call, _parts: Mapping[str, str]) -> Reply:
    """Answer `/services/oauth2/userinfo`; a bad token gets 403 and plain text, not 401 and JSON."""
    token = _session(org, call)
    if isinstance(token, str):
        return text_reply(token, status=403)
    user = org.user(token.user_id)
    base = org.addresses.login_for(call.scheme, call.host)
    instance = org.addresses.instance_for(call.scheme, call.host)
    identity = f"{base}/id/{org.org_id}/{token.user_id}"
    return json_reply(
        {
            "sub": identity, "user_id": token.user_id, "organization_id": org.org_id,
            "preferred_username": user["Username"], "nickname": user["CommunityNickname"],
            "name": user["Name"], "email": user["Email"], "email_verified": True,
            "given_name": user["FirstName"], "family_name": user["LastName"],
            "zoneinfo": user["TimeZoneSidKey"], "photos": _photos(instance),
            "profile": f"{instance}/{token.user_id}", "picture": _photos(instance)["picture"],
            "address": {}, "is_salesforce_integration_user": False,
            "urls": _urls(instance, org.org_id, token.user_id, call.query.get("version")),
            "active": user["IsActive"], "user_type": "STANDARD", "language": user["LanguageLocaleKey"],
            "locale": user["LocaleSidKey"], "utcOffset": 0,
            "updated_at": times.write_datetime(user["LastModifiedDate"]), "is_app_installed": True,
        }
    )  # fmt: skip


def identity(org: Org, call: Call, parts: Mapping[str, str]) -> Reply:
    """Answer the identity URL `/id/ORG/USER`."""
    token = _session(org, call)
    if isinstance(token, str):
        return text_reply(token, status=403)
    asked = sfid.normalise(parts["org_id"]), sfid.normalise(parts["user_id"])
    if asked != (org.org_id, token.user_id):
        return text_reply("Bad_Id", status=403)
    user = org.user(token.user_id)
    base = org.addresses.login_for(call.scheme, call.host)
    instance = org.addresses.instance_for(call.scheme, call.host)
    return json_reply(
        {
            "id": f"{base}/id/{org.org_id}/{token.user_id}", "asserted_user": True,
            "user_id": token.user_id, "organization_id": org.org_id, "username": user["Username"],
            "nick_name": user["CommunityNickname"], "display_name": user["Name"], "email": user["Email"],
            "email_verified": True, "first_name": user["FirstName"], "last_name": user["LastName"],
            "timezone": user["TimeZoneSidKey"], "photos": _photos(instance), "addr_street": None,
            "addr_city": None, "addr_state": None, "addr_country": None, "addr_zip": None,
            "mobile_phone": None, "mobile_phone_verified": False, "is_lightning_login_user": False,
            "status": {"created_date": None, "body": None},
            "urls": _urls(instance, org.org_id, token.user_id, call.query.get("version")),
            "active": user["IsActive"], "user_type": "STANDARD", "language": user["LanguageLocaleKey"],
            "locale": user["LocaleSidKey"], "utcOffset": 0,
            "last_modified_date": times.write_datetime(user["LastModifiedDate"]), "is_app_installed": True,
        }
    )  # fmt: skip


def _photos(instance: str) -> dict[str, str]:
    return {"picture": f"{instance}/profilephoto/005/F", "thumbnail": f"{instance}/profilephoto/005/T"}


def _urls(instance: str, org_id: str, user_id: str, version: str | None) -> dict[str, str]:
    number = "67.0" if version == "latest" else (version or "{version}")
    data = f"{instance}/services/data/v{number}/"
    return {
        "enterprise": f"{instance}/services/Soap/c/{number}/{org_id[:15]}",
        "metadata": f"{instance}/services/Soap/m/{number}/{org_id[:15]}",
        "partner": f"{instance}/services/Soap/u/{number}/{org_id[:15]}",
        "rest": data,
        "sobjects": f"{data}sobjects/",
        "search": f"{data}search/",
        "query": f"{data}query/",
        "recent": f"{data}recent/",
        "tooling_soap": f"{instance}/services/Soap/T/{number}/{org_id[:15]}",
        "tooling_rest": f"{data}tooling/",
        "profile": f"{instance}/{user_id}",
        "feeds": f"{data}chatter/feeds",
        "groups": f"{data}chatter/groups",
        "users": f"{data}chatter/users",
        "feed_items": f"{data}chatter/feed-items",
        "feed_elements": f"{data}chatter/feed-elements",
        "custom_domain": instance,
    }


def revoke(org: Org, call: Call, _parts: Mapping[str, str]) -> Reply:
    """Answer `/services/oauth2/revoke`: empty and 200 where the token lived."""
    token = call.form().get("token") or call.query.get("token") or ""
    if org.ledger.revoke(token) or not org.behaviour.revoke_unknown:
        org.bus.log.wake()  # streams look whether their token still lives
        return Reply()
    error, description = pair(org.behaviour.revoke_unknown)
    return json_reply({"error": error, "error_description": description}, status=400)


def introspect(org: Org, call: Call, _parts: Mapping[str, str]) -> Reply:
    """Answer `/services/oauth2/introspect`: an app sees its own tokens only."""
    params = {**call.query, **call.form()}
    try:
        app = known_app(org, call, params, secret_required=True)
    except OAuthError as error:
        document = {"error": error.error, "error_description": error.description}
        return json_reply(document, status=401 if error.error == "invalid_client" else 400)
    found = _introspected(org, call, params.get("token", ""), app.client_id)
    return json_reply(found or {"active": False})


def _introspected(org: Org, call: Call, value: str, client_id: str) -> dict[str, Any] | None:
    now = org.clock.now()
    base = org.addresses.login_for(call.scheme, call.host)
    common: dict[str, Any] = {"active": True, "client_id": client_id}
    token = org.ledger.tokens.get(value)
    if token and token.client_id == client_id and org.ledger.works(token, now, org.behaviour):
        used = int(token.used_at.timestamp())
        return common | {
            "scope": scope_text(token.scopes), "username": org.user(token.user_id)["Username"],
            "sub": f"{base}/id/{org.org_id}/{token.user_id}", "token_type": "access_token",
            "exp": used + org.behaviour.session_timeout_seconds,
            "iat": int(token.issued_at.timestamp()), "nbf": int(token.issued_at.timestamp()),
        }  # fmt: skip
    grant = next(
        (g for g in org.ledger.live(client_id=client_id) if value and g.refresh_token == value), None
    )
    if grant is None:
        return None
    return common | {
        "scope": scope_text(grant.scopes), "username": org.user(grant.user_id)["Username"],
        "sub": f"{base}/id/{org.org_id}/{grant.user_id}", "token_type": "refresh_token",
        "iat": int(grant.created_at.timestamp()), "nbf": int(grant.created_at.timestamp()),
    }  # fmt: skip


def discovery(org: Org, call: Call, _parts: Mapping[str, str]) -> Reply:
    """Answer `/.well-known/openid-configuration`."""
    base = org.addresses.login_for(call.scheme, call.host)
    oauth = f"{base}/services/oauth2"
    return json_reply(
        {
            "issuer": base,
            "authorization_endpoint": f"{oauth}/authorize",
            "token_endpoint": f"{oauth}/token",
            "revocation_endpoint": f"{oauth}/revoke",
            "userinfo_endpoint": f"{oauth}/userinfo",
            "introspection_endpoint": f"{oauth}/introspect",
            "jwks_uri": f"{base}/id/keys",
            "registration_endpoint": f"{oauth}/register",
            "frontchannel_logout_supported": True,
            "scopes_supported": list(_SCOPES_SUPPORTED),
            "response_types_supported": ["code", "token", "token id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "display_values_supported": ["page", "popup", "touch"],
            "token_endpoint_auth_methods_supported": [
                "client_secret_post", "client_secret_basic", "private_key_jwt",
            ],
        }
    )  # fmt: skip


def auth_configuration(org: Org, call: Call, _parts: Mapping[str, str]) -> Reply:
    """Answer `/.well-known/auth-configuration`."""
    instance = org.addresses.instance_for(call.scheme, call.host)
    return json_reply({"OrganizationId": org.org_id, "MyDomain": {"Url": instance}, "LoginPage": {}})


def keys(org: Org, _call: Call, _parts: Mapping[str, str]) -> Reply:
    """Answer `/id/keys`."""
    return json_reply(jws.key_set(org.signing_key))
