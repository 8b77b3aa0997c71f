import requests


def two(url):
    return requests.post(url + "/two", json={"two": 2}).json()["two"]
