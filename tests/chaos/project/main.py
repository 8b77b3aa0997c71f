"""Sessions of every kind. Each step asks the ledger, which answers with the number of the request.

A session's result names, for each of its steps, the answer that it went on with: an answer that the ledger gave later
to the same step means that a completed step was executed again.
"""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import requests

import ninelives


@ninelives.step
def tell(url, key):
    return requests.post(f"{url}/{key}", timeout=60).json()["number"]


@ninelives.step
async def tell_soon(url, key):
    return await asyncio.to_thread(_post, url, key)


def _post(url, key):
    return requests.post(f"{url}/{key}", timeout=60).json()["number"]


def ask(url, key):
    return requests.post(f"{url}/{key}", timeout=60).json()["number"]


def begin(event):
    print(f"{event.data.name} begins")
    ninelives.add_value("begun", 1)
    return event.data.url, event.data.name


def end(name, answers):
    ninelives.add_value("ended", 1)
    print(f"{name} ends with {len(answers)}")
    return {"answers": answers}


def sync(event):
    url, name = begin(event)
    answers = {}
    for k in range(12):
        answers[k] = tell(url, f"{name}/{k}") if k % 2 else ask(url, f"{name}/{k}")
        time.sleep(0.2)
    return end(name, answers)


async def aio(event):
    url, name = begin(event)
    answers = {}
    for lap in range(3):
        keys = [4 * lap + k for k in range(4)]
        two = (tell_soon(url, f"{name}/{k}") for k in keys[:2])
        others = (asyncio.to_thread(requests.post, f"{url}/{name}/{k}", timeout=60) for k in keys[2:])
        got = await asyncio.gather(*two, *others)
        answers.update(zip(keys, [*got[:2], *(r.json()["number"] for r in got[2:])], strict=True))
        await asyncio.sleep(0.3)
    return end(name, answers)


def threads(event):
    url, name = begin(event)
    with ThreadPoolExecutor(3) as pool:
        answers = dict(enumerate(pool.map(lambda k: ask(url, f"{name}/{k}"), range(6))))

    def work(k):
        answers[k] = tell(url, f"{name}/{k}")

    for pair in ((6, 7), (8, 9), (10, 11)):
        started = [threading.Thread(target=work, args=(k,)) for k in pair]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
    return end(name, answers)


def waits(event):
    url, name = begin(event)
    answers = {}
    for k in range(3):
        answers[k] = ask(url, f"{name}/{k}")
        time.sleep(event.data.pause)
    return end(name, answers)


def children(event):
    url, name = begin(event)
    answers = {0: ask(url, f"{name}/0")}
    made = [
        ninelives.start("main.py:child", {"url": url, "name": f"{name}-child{k}"}, {"parent": name})
        for k in range(2)
    ]
    answers[1] = tell(url, f"{name}/1")
    for session_id in made:
        ninelives.next_signal(session_id)  # it has ended
    return {**end(name, answers), "children": made}


def listens(event):
    """Hear three pieces of news, which are sent once the ledger knows that this session listens."""
    url, name = begin(event)
    news = ninelives.subscribe("news", f'data.body.json.to == "{name}"')
    answers, heard = {0: ask(url, f"{name}/0")}, []
    for k in (1, 2, 3):
        heard.append(ninelives.next_event(news).body.json.n)
        answers[k] = tell(url, f"{name}/{k}")
    return {**end(name, answers), "heard": heard}


def child(event):
    url, name = begin(event)
    return end(name, {k: ask(url, f"{name}/{k}") for k in range(3)})


def order(event):
    body = event.data.body.json
    print(f"{body['name']} begins")
    ninelives.add_value("begun", 1)
    return end(body["name"], {k: ask(body["url"], f"{body['name']}/{k}") for k in range(3)})


def lead(event):
    url = ninelives.get_value("ledger")
    name = event.data.Company
    print(f"{name} begins")
    ninelives.add_value("begun", 1)
    return end(name, {k: tell(url, f"{name}/{k}") for k in range(2)})


def setup(event):
    ninelives.set_value("ledger", event.data.url)
    ninelives.set_value("begun", 0)
    ninelives.set_value("ended", 0)


def totals(event):
    return {"begun": ninelives.get_value("begun"), "ended": ninelives.get_value("ended")}
