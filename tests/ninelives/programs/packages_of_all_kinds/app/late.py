from .core import _requests

COUNT = globals().get("COUNT", 0) + 1


def late(url):
    return _requests.post(url + "/late", json={"k": 3}).json()["k"]
