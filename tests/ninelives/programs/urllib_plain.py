"""The standard library's own HTTP client, with its response as a context."""

import json
import urllib.error
import urllib.parse
import urllib.request


def main(event):
    query = urllib.parse.urlencode({"page": 1})
    with urllib.request.urlopen(f"{event.data.url}/orders?{query}") as response:
        body = json.load(response)
    request = urllib.request.Request(
        f"{event.data.url}/invoices", data=json.dumps({"order": 7}).encode(), method="POST"
    )
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request) as response:
        text = response.read().decode()
        status = response.status
    try:
        urllib.request.urlopen(f"{event.data.url}/fail/404")
    except urllib.error.HTTPError as error:
        print("refused", error.code)
    return [len(body["items"]), status, json.loads(text)["order"]]
