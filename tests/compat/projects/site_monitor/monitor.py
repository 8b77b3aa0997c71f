"""Looks at a site until it is well, and counts how often it was not."""

import os
import time
from datetime import UTC, datetime

import requests

SLEEP_SECONDS = float(os.getenv("SLEEP_SECONDS"))
SITE = os.getenv("SITE_URL")


def on_tick(event):
    began = datetime.now(UTC)
    bad = 0
    while True:
        status = check()
        print(f"status {status}")
        if status == 200:
            break
        bad += 1
        time.sleep(SLEEP_SECONDS)
    took = (datetime.now(UTC) - began).total_seconds()
    return {"bad": bad, "slept": took >= bad * SLEEP_SECONDS}


def check():
    try:
        return requests.get(f"{SITE}/health", timeout=30).status_code
    except requests.RequestException as error:
        print(f"cannot reach it: {type(error).__name__}")
        return 0
