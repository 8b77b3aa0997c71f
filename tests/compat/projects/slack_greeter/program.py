"""Greets newcomers; the client is made when the module is imported."""

import os

from autokitteh.slack import normalize_channel_name, slack_client
from slack_sdk.errors import SlackApiError

CHANNEL = os.getenv("CHANNEL", "#random")
slack = slack_client("chat", base_url=os.environ["SLACK_URL"])


def on_newcomer(event):
    person = event.data.body.json
    print(f"greeting {person['name']}")
    resp = slack.chat_postMessage(channel=CHANNEL, text=f"Welcome, {person['name']}!")
    private = normalize_channel_name(f"Hi {person['name']}")
    try:
        slack.conversations_create(name=private)
    except SlackApiError as e:
        print(f"not created: {e.response['error']}")
    slack.reactions_add(channel=resp["channel"], name="wave", timestamp=resp["ts"])
    print("done")
    return resp["ts"]
