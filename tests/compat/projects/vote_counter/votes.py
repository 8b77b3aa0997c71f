import autokitteh
from autokitteh import store


def on_vote(event):
    who = event.data.url.path_suffix.strip("/")
    if not who:
        return report()
    total = autokitteh.add_values(f"votes-{who}", 1)
    voters = store["voters"] or []
    store["voters"] = [*voters, event.event_id]
    autokitteh.set_value("last", who)
    autokitteh.publish_value("last")
    autokitteh.http_outcome(json={"who": who, "total": total, "public": autokitteh.get_store_public_url()})


def report():
    votes = {key: store[key] for key in store if key.startswith("votes-")}
    autokitteh.http_outcome(json={"votes": votes, "voters": len(store["voters"])})
