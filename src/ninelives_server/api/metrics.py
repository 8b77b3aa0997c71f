"""The metrics, in a registry of their own; names and labels are documented in docs/reference/api.md."""

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
