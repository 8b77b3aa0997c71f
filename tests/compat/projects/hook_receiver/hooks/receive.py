import os

import requests

from hooks import signatures


def on_push(event):
    signature = event.data.headers["X-Hub-Signature-256"]
    if not signatures.is_valid(os.environ["SECRET"], event.data.body.bytes, signature):
        raise ValueError("the signature is wrong")
    commits = [
        {"id": commit["id"][:7], "title": commit["message"].splitlines()[0]}
        for commit in event.data.body.json.get("commits", [])
    ]
    for commit in commits:
        requests.post(
            os.environ["FORWARD_URL"] + "/commits",
            json=commit,
            timeout=60,
        ).raise_for_status()
        print("{id} {title}".format(**commit))
    return len(commits)
