"""Hooks that are lambdas, uploads of open files, answers of async clients: what was answered survives."""

import requests


def main(event):
    url, seen = event.data.url, []
    session = requests.Session()
    session.hooks["response"].append(lambda answer, *_args, **_kwargs: seen.append(answer.status_code))
    session.hooks["response"].append(lambda answer, *_args, **_kwargs: answer.raise_for_status())
    made = session.post(f"{url}/leads", json={"name": "Ada"})
    print(made.json(), made.headers["Content-Type"], made.request.method, made.request.body)
    with open(f"{event.data.dir}/lead.json", "w") as file:
        file.write('{"name": "Grace"}')
    with open(f"{event.data.dir}/lead.json", "rb") as file:
        sent = requests.post(f"{url}/files", data=file)
    print(sent.json(), sent.request.url.removeprefix(url))
    try:
        session.get(f"{url}/fail/422")
    except requests.HTTPError as error:
        print(error.response.status_code, error.response.json(), error.request.method)
    try:
        session.get("http://127.0.0.1:1/")
    except requests.ConnectionError as error:
        print(error.response, error.request.method)
    return made.ok
