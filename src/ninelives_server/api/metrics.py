"""The metrics, in a registry of their own; names and labels are documented in docs/reference/api.md."""

from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

METRICS = CollectorRegistry()
REQUESTS = Counter(
    "ninelives_http_requests_total", "Requests answered", ["method", "status"], registry=METRICS
)
DURATION = Histogram(
    "ninelives_http_request_duration_seconds", "Time until the answer began", ["method"], registry=METRICS
)
WEBHOOKS = Counter(
    "ninelives_webhook_requests_total", "Webhook requests by status", ["status"], registry=METRICS
)
SESSIONS = Gauge("ninelives_sessions", "Sessions by state", ["state"], registry=METRICS)
CONNECTIONS = Gauge("ninelives_connection_state", "Connections by state", ["state"], registry=METRICS)

#: Others count as one: each value of a label is kept for ever, and senders may make them up.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# To look up a label costs more than to count.
_requests = lru_cache(maxsize=1024)(REQUESTS.labels)
_duration = lru_cache(maxsize=16)(DURATION.labels)
_webhooks = lru_cache(maxsize=128)(WEBHOOKS.labels)


def answered(method: str, status: int, *, seconds: float, is_webhook: bool) -> None:
    """Count a request whose answer begins, so many seconds after it came."""
    method = method if method in _METHODS else "other"
    _requests(method, status).inc()
    _duration(method).observe(seconds)
    if is_webhook:
        _webhooks(status).inc()
