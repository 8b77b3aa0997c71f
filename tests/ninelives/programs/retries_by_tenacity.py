"""tenacity: tries again and waits in between; iterated over, around functions, async."""

import asyncio

import requests
import tenacity

tried = []


@tenacity.retry(stop=tenacity.stop_after_attempt(2), wait=tenacity.wait_fixed(0.01), reraise=True)
def never(url):
    tried.append("never")
    requests.get(f"{url}/fail/503").raise_for_status()


@tenacity.retry(wait=tenacity.wait_random(0, 0.01), stop=tenacity.stop_after_attempt(5))
async def at_last(url):
    answer = await asyncio.to_thread(requests.post, f"{url}/flaky", json={})
    answer.raise_for_status()
    return answer.status_code


def main(event):
    url = event.data.url
    try:
        never(url)
    except requests.HTTPError as error:
        print(error.response.status_code, never.statistics["attempt_number"] == len(tried))
    print(asyncio.run(at_last(url)))
    for attempt in tenacity.Retrying(stop=tenacity.stop_after_attempt(2), wait=tenacity.wait_fixed(0.01)):
        with attempt:
            print(attempt.retry_state.attempt_number)
            if attempt.retry_state.attempt_number == 1:
                raise ConnectionError
    return never.statistics["delay_since_first_attempt"] >= 0.01
