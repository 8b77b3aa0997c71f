"""A client that cannot be recorded is made again by the function that made it."""

import threading

import requests

import ninelives


class Client:
    def __init__(self, url):
        self.url = url
        self.lock = threading.Lock()

    def send(self, value):
        return requests.post(self.url + "/invoices", json={"v": value}, timeout=10).json()["v"]


@ninelives.live
def connect(url):
    return Client(url)


def main(event):
    client = connect(event.data.url)
    found = [client.send(i) for i in range(3)]
    print(isinstance(client, Client), found)
    session = requests.Session()
    session.auth = ("ann", "pass")
    codes = [session.get(event.data.url + "/orders?page=1", timeout=10).status_code for _ in range(2)]
    return [found, codes]
