"""A client of the project with a lock, a counter, a property, in contexts of the project and of Python."""

import threading

import requests

import ninelives
from contextlib import contextmanager
@ninelives.step
def tick(v=1): return v
class Conn:
    def __init__(self, url):
        self.url = url; self.lock = threading.Lock(); self.count = 0; self.session = requests.Session()
    def __enter__(self): return self
    def __exit__(self, *a): self.session.close()
    def get(self, n):
        with self.lock:
            self.count += 1
        return self.session.get(self.url + "/orders", params={"page": n}, timeout=5).json()["next"]
    @property
    def used(self): return self.count
@ninelives.live
def connect(url): return Conn(url)
@contextmanager
def conn(url):
    c = connect(url)
    try:
        yield c
    finally:
        tick("closed")
def main(event):
    with conn(event.data.url) as c:
        a = [c.get(n) for n in (1, 2)]
    with connect(event.data.url) as d:
        a.append(d.get(3))
    c.extra = {"k": 1}
    return [a, c.used, d.count, c.extra]
