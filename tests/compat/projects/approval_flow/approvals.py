"""Asks for an approval in Slack, and waits for the answer."""

import os

import autokitteh
from autokitteh.slack import slack_client

slack = slack_client("slack_conn", base_url=os.environ["SLACK_URL"])


def on_request(event, session_id):
    what = event.data.body.json["what"]
    sub = autokitteh.subscribe("approvals", filter="data.method == 'POST'")
    slack.chat_postMessage(channel="#approvals", text=f"May {what}? {session_id}")
    print(f"asked about {what}")
    answer = autokitteh.next_event(sub, timeout=300)
    if answer is None:
        print("nobody answered")
        return "timeout"
    verdict = answer.body.json["verdict"]
    print(f"{answer.body.json['by']} says {verdict}")
    autokitteh.unsubscribe(sub)
    slack.chat_postMessage(channel="#approvals", text=f"{what}: {verdict}")
    return verdict
