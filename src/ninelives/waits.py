"""Waiting for time to pass."""

import time
from datetime import timedelta

from ninelives import host


def sleep(duration: float | timedelta) -> None:
    """Wait for seconds, days or months; a session that waits long needs no process meanwhile.

    `time.sleep` in a durable session does the same.
    """
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if seconds < 0:
        raise ValueError(f"sleep length must be non-negative, not {seconds}")
    session = host.running()
    if session is None:
        time.sleep(seconds)
    else:
        session.sleep(seconds)
