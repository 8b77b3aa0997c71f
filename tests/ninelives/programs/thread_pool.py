"""A pool: submit, map, as_completed, an error in a future, a local of each thread."""

import concurrent.futures
import threading

import requests

local = threading.local()


def fetch(url, page):
    local.page = page
    answer = requests.get(f"{url}/orders", params={"page": page}, timeout=10)
    return local.page, len(answer.json()["items"])


def fail(n):
    raise ValueError(n)


def main(event):
    with concurrent.futures.ThreadPoolExecutor(max_workers=3) as pool:
        futures = {pool.submit(fetch, event.data.url, page): page for page in (1, 2, 3)}
        found = sorted(future.result() for future in concurrent.futures.as_completed(futures))
        mapped = list(pool.map(lambda page: fetch(event.data.url, page), [3, 2, 1]))
        broken = pool.submit(fail, 4)
        error = broken.exception()
    done, rest = concurrent.futures.wait(futures)
    return [found, mapped, repr(error), len(done), len(rest), hasattr(local, "page")]
