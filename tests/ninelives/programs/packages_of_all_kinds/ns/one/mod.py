import requests


def one(url):
    from ns.two import mod

    return requests.post(url + "/one", json={"one": 1}).json()["one"], mod.two.__name__
