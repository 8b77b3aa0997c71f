from autokitteh import http_outcome

PRICES = {"book": 12.5, "pen": 1.25}


def quote(event):
    item = event.data.url.query.get("item")
    if event.data.method != "GET":
        http_outcome(405, "only GET")
        return
    if item not in PRICES:
        http_outcome(status_code=404, json={"error": f"no {item}"})
        return
    http_outcome(json={"item": item, "price": PRICES[item]}, headers={"X-Quote": "yes"})
