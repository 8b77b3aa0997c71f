"""Functions of libraries that are called by other functions: each call is a step, as if it were written out."""

import functools
import itertools
import operator

import more_itertools
import requests
import tenacity


def main(event):
    url = event.data.url
    post = operator.methodcaller("post", f"{url}/by-name", json={"n": 1})
    print(post(requests).json(), post(requests.Session()).status_code)
    print([answer.status_code for answer in map(post, [requests])])
    print(operator.call(requests.post, f"{url}/called", json={}).json())
    cached = functools.lru_cache(maxsize=8)(requests.get)
    pages = [cached(f"{url}/orders?page={n}").json()["next"] for n in (1, 1, 2)]
    print(pages, cached.cache_info().hits)
    print([answer.status_code for answer in itertools.starmap(requests.post, [(f"{url}/a",), (f"{url}/b",)])])
    again = tenacity.Retrying(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_none())
    print(again(requests.post, f"{url}/c", json={}).status_code)

    @tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_none())
    def second_time():
        made.append(requests.post(f"{url}/tried", json={"n": len(made)}).status_code)
        if len(made) < 2:
            raise ConnectionError
        return made

    made = []
    print(second_time(), second_time.statistics["attempt_number"])
    answers = map(requests.post, [f"{url}/x", f"{url}/y", f"{url}/z"])
    print([[answer.status_code for answer in pair] for pair in more_itertools.chunked(answers, 2)])
    first = more_itertools.first_true([f"{url}/p", f"{url}/q"], pred=requests.post)
    return first.removeprefix(url)
