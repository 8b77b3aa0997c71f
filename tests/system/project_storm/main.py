"""Counts each event that it is started for, and stays as long as the counter does not answer."""

import requests


def on_hook(event):
    body = event.data.body.json
    requests.post(f"{body['url']}/n/{body['n']}", timeout=3600)
