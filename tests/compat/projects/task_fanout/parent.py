from autokitteh import next_signal, signal, start


def on_batch(event, session_id):
    items = event.data.body.json
    children = [start("child.py:work", {"item": item, "parent": session_id}) for item in items]
    results = {}
    while len(results) < len(children):
        sig = next_signal(["progress", *children], timeout=120)
        if sig is None:
            print("gave up")
            return results
        if sig.name == "progress":
            print(f"progress {sig.payload['item']}")
            continue
        results[children.index(sig.name)] = sig.payload["value"]
    signal_done(children)
    return [results[n] for n in sorted(results)]


def signal_done(children):
    print(f"{len(children)} done")
