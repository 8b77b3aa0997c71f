"""Refusals of a service are caught by their class, and tried again by hand."""

import time

import requests


class GaveUp(Exception):
    def __init__(self, attempts, last):
        super().__init__(f"gave up after {attempts} attempts")
        self.attempts = attempts
        self.last = last


def fetch(url, attempts=3):
    for attempt in range(1, attempts + 1):
        try:
            answer = requests.get(url, timeout=10)
            answer.raise_for_status()
        except requests.HTTPError as error:
            print(attempt, error.response.status_code, error.response.json())
            if attempt == attempts:
                raise GaveUp(attempts, error) from error
            time.sleep(0.01 * attempt)
        else:
            return answer.json()


def main(event):
    try:
        fetch(f"{event.data.url}/fail/503")
    except GaveUp as error:
        print(repr(error), error.attempts, type(error.__cause__).__name__)
    try:
        requests.get("http://127.0.0.1:1/nothing", timeout=5)
    except requests.ConnectionError as error:
        print("no connection", type(error).__name__, isinstance(error, OSError))
    return fetch(f"{event.data.url}/orders?page=1")["next"]
