"""Contexts that are entered by an `ExitStack`, callbacks that it keeps, temporary directories."""

import contextlib
import os
import tempfile
from pathlib import Path

import requests


def get(session, url, page):
    return session.get(f"{url}/orders?page={page}").json()["items"][0]["id"]


def main(event):
    url = event.data.url
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        session = stack.enter_context(requests.Session())
        note = stack.enter_context(open(Path(event.data.dir, "note.txt"), "w"))
        stack.callback(requests.post, f"{url}/left", json={"by": "library"})
        stack.callback(lambda: print("left"))
        note.write(str(get(session, url, 1)))
        Path(scratch, "a.txt").write_text("x")
        found = [os.listdir(scratch), get(session, url, 2)]
    found.append(os.path.exists(scratch))
    requests.post(f"{url}/after", json={})
    return [*found, Path(event.data.dir, "note.txt").read_text()]
