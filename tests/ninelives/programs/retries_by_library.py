"""A user's own retry decorator and a small state machine."""

import functools
import time

import requests


def retry(times, pause=0.005):
    def decorate(fn):
        @functools.wraps(fn)
        def wrapper(*args, **kwargs):
            for attempt in range(times):
                try:
                    return fn(*args, **kwargs)
                except requests.HTTPError as error:
                    if attempt + 1 == times:
                        raise
                    print("again", error.response.status_code)
                    time.sleep(pause * 2**attempt)

        return wrapper

    return decorate


class Deal:
    states = {"new": "won", "won": "closed"}

    def __init__(self, url):
        self.url = url
        self.state = "new"

    @retry(3)
    def advance(self):
        answer = requests.post(self.url + "/flaky", json={"state": self.state}, timeout=10)
        answer.raise_for_status()
        self.state = self.states[self.state]
        return answer.json()["state"]


def main(event):
    deal = Deal(event.data.url)
    seen = []
    while deal.state != "closed":
        seen.append(deal.advance())
    return seen
