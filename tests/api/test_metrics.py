"""What is counted of requests, and under which labels."""

from ninelives_server.api import metrics


def count(name: str, **labels: str) -> float:
    return metrics.METRICS.get_sample_value(name, labels) or 0.0


def test_a_request_is_counted_by_method_and_status():
    """
    A webhook's also among the webhooks.
    """
    before = [
        count("ninelives_http_requests_total", method="POST", status="299"),
        count("ninelives_http_request_duration_seconds_count", method="POST"),
        count("ninelives_webhook_requests_total", status="299"),
    ]

    metrics.answered("POST", 299, seconds=0.1, is_webhook=True)
    metrics.answered("POST", 299, seconds=0.1, is_webhook=False)

    after = [
        count("ninelives_http_requests_total", method="POST", status="299"),
        count("ninelives_http_request_duration_seconds_count", method="POST"),
        count("ninelives_webhook_requests_total", status="299"),
    ]
    assert [new - old for old, new in zip(before, after, strict=True)] == [2, 2, 1]


def test_methods_that_a_sender_makes_up_count_as_one():
    """
    A webhook takes any method, and each value of a label stays in memory.
    """
    for number in range(50):
        metrics.answered(f"MADE-UP-{number}", 202, seconds=0, is_webhook=True)

    assert count("ninelives_http_requests_total", method="other", status="202") >= 50
    assert count("ninelives_http_requests_total", method="MADE-UP-7", status="202") == 0
