"""A client library as the Python Package Index has them: pages, lazy objects, a session with a lock."""

import threading

import requests


class ShopError(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Order:
    def __init__(self, shop, data):
        self._shop = shop
        self.number = data["id"]
        self.amount = data["amount"]


class Invoice:
    def __init__(self, shop, data):
        self._shop = shop
        self.id = data["n"]
        self.status = "open"

    def pay(self):
        self._shop.post("/invoices", {"pay": self.id})
        self.status = "paid"

    def refresh(self):
        self._shop.get("/orders?page=1")
        return self


class Orders:
    """Orders, fetched page by page while one loops over them."""

    def __init__(self, shop):
        self._shop = shop

    def __iter__(self):
        page = 1
        while page is not None:
            body = self._shop.get(f"/orders?page={page}")
            for item in body["items"]:
                yield Order(self._shop, item)
            page = body["next"]

    def __getitem__(self, index):
        return list(self)[index]

    def __len__(self):
        return sum(1 for _ in self)


class Batch:
    def __init__(self, shop):
        self._shop = shop
        self._items = []
        self.count = 0

    def __enter__(self):
        return self

    def add(self, item):
        self._items.append(item)

    def __exit__(self, *error):
        self._shop.post("/invoices", {"batch": self._items})
        self.count = len(self._items)


class Shop:
    def __init__(self, url):
        self._url = url
        self._lock = threading.RLock()
        self._session = requests.Session()
        self.timeout = 10
        self.closed = False
        self.events = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True
        self._session.close()

    def get(self, path):
        with self._lock:
            return self._session.get(self._url + path, timeout=self.timeout).json()

    def post(self, path, body):
        with self._lock:
            return self._session.post(self._url + path, json=body, timeout=self.timeout).json()

    def orders(self):
        return Orders(self)

    def invoice(self, name, *, amount):
        return Invoice(self, self.post("/invoices", {"name": name, "amount": amount}))

    def batch(self):
        return Batch(self)

    def missing(self):
        answer = self._session.get(self._url + "/fail/404", timeout=self.timeout)
        raise ShopError(answer.status_code, "there is no such thing")


def connect(url):
    return Shop(url)


class PatientSession(requests.Session):
    """A session with attributes of its own, which requests leaves out when it pickles one, as jira's."""

    def __init__(self, url, tries):
        super().__init__()
        self.url = url
        self.tries = tries

    def request(self, method, path, **options):
        for _ in range(self.tries):
            answer = super().request(method, self.url + path, timeout=10, **options)
            if answer.ok:
                break
        return answer


class Tracker:
    """A client that pickles."""

    def __init__(self, url):
        self._session = PatientSession(url, 3)

    def create(self, **fields):
        return self._session.post("/flaky", json=fields).json()


def _operation(name):
    def _api_call(self, **options):
        with self._lock:
            return self._session.post(f"{self._url}/{name}", json=options, timeout=10).json()

    _api_call.__name__ = name
    return _api_call


class Service:
    """A client whose methods are made at run time from one function, as boto3's."""

    def __init__(self, url):
        self._url = url
        self._lock = threading.RLock()
        self._session = requests.Session()

    put_object = _operation("put_object")
    copy_object = _operation("copy_object")
