import autokitteh


def on_get(event):
    keys = [k for k in autokitteh.list_values_keys() if k.startswith("ticket:")]
    suffix = event.data.url.path_suffix
    if suffix:
        value = autokitteh.get_value(f"ticket:{suffix}")
        if value is None:
            return autokitteh.http_outcome(404, json={"error": f"no {suffix}"})
        return autokitteh.http_outcome(json=value, headers={"X-Ticket": suffix})
    autokitteh.http_outcome(200, body="id,title\n", headers={"Content-Type": "text/csv"}, more=True)
    for key in keys:
        v = autokitteh.get_value(key)
        autokitteh.http_outcome(body=f"{key.removeprefix('ticket:')},{v['title']}\n", more=key != keys[-1])
