"""What Salesforce's refusals mean: one table from its words to a state, a sentence and what to do.

The texts are those of Salesforce Help ("OAuth 2.0 Authorization Errors", "Authorize Apps with OAuth") and of
public issue threads; docs/integrations/salesforce/private-oauth.md shows the same table to people. The first
row that fits wins; everything else falls back to the standard's meaning.
"""

from dataclasses import replace

from ninelives_server.integrations.contract import Diagnosis
from ninelives_server.model.connections import ConnectionState
from ninelives_server.oauth.messages import Answer
from ninelives_server.oauth.outcomes import Kind, Refusal, clean
from ninelives_server.providers.salesforce import catalogue

_STATES = {
    Kind.TRANSIENT: ConnectionState.DEGRADED,
    Kind.NEEDS_REAUTH: ConnectionState.NEEDS_REAUTH,
    Kind.NEEDS_ADMIN: ConnectionState.NEEDS_ADMIN,
    Kind.REFUSED: ConnectionState.NEEDS_ADMIN,
}


def classified(refusal: Refusal) -> Refusal:
    """Return the refusal with the kind that Salesforce's words mean; a 5xx or 429 stays transient."""
    if refusal.kind is Kind.TRANSIENT and (refusal.status >= 500 or refusal.status in {0, 420, 429}):
        return refusal
    entry = _find(refusal)
    return refusal if entry is None else replace(refusal, kind=entry.kind)


def diagnose(refusal: Refusal) -> Diagnosis:
    """Say what a refusal means; every refusal has an answer."""
    refusal = classified(refusal)
    entry = _find(refusal)
    if entry is None or entry.kind is not refusal.kind:
        return _fallback(refusal)
    return Diagnosis(
        state=_STATES[entry.kind],
        message=entry.message,
        next_steps=entry.steps,
        provider_words=refusal.words,
    )


def _find(refusal: Refusal) -> catalogue.Entry | None:
    return next((entry for entry in catalogue.TABLE if entry.fits(refusal)), None)


_FALLBACK = {
    Kind.TRANSIENT: ("Salesforce did not give a usable answer", ("It is tried again", catalogue.HOST)),
    Kind.NEEDS_REAUTH: ("Salesforce refuses this authorisation", (catalogue.RECONNECT,)),
    Kind.NEEDS_ADMIN: ("A setting of the org or its app is in the way", (catalogue.PERMIT, catalogue.KEYS)),
    Kind.REFUSED: ("Salesforce refuses this app's request", (catalogue.KEYS, catalogue.HOST)),
}


def _fallback(refusal: Refusal) -> Diagnosis:
    message, steps = _FALLBACK[refusal.kind]
    if refusal.kind is Kind.TRANSIENT and 400 <= refusal.status < 500:
        steps = (f"There may be no org at this address: {catalogue.HOST}",)
    return Diagnosis(
        state=_STATES[refusal.kind], message=message, next_steps=steps, provider_words=refusal.words
    )


def from_api(answer: Answer) -> Refusal:
    """Read an error of the REST API or of userinfo: an array of errors, a bare word, or a page."""
    if answer.failure:
        return Refusal(kind=Kind.TRANSIENT, error="", description=clean(answer.failure))
    document = answer.json()
    first = document[0] if isinstance(document, list) and document else document
    if isinstance(first, dict):
        name, text = first.get("errorCode") or first.get("error"), first.get("message")
        name, text = clean(name, 80), clean(text or first.get("error_description"))
    else:  # userinfo: `Bad_OAuth_Token` as plain text
        word = clean(answer.text, 80)
        name, text = (word, "") if word and " " not in word and "<" not in word else ("", "")
    words = text or ("" if name else f"HTTP {answer.status} without a usable answer")
    kind = _api_kind(answer.status)
    return classified(Refusal(kind=kind, error=name, description=words, status=answer.status))


def _api_kind(status: int) -> Kind:
    if status == 401:
        return Kind.NEEDS_REAUTH
    return Kind.NEEDS_ADMIN if status == 403 else Kind.TRANSIENT
