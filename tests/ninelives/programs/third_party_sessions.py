"""Clients around a session of a class of its own, adapters with time-outs, methods that are made at run time."""

import requests
import shoplib
from requests.adapters import HTTPAdapter

import ninelives


class Patient(HTTPAdapter):
    def __init__(self, *args, seconds, **kwargs):
        self.seconds = seconds
        super().__init__(*args, **kwargs)

    def send(self, request, **options):
        return super().send(request, **{**options, "timeout": self.seconds})


@ninelives.live
def connect(url):
    return shoplib.Service(url)


def main(event):
    url = event.data.url
    tracker = shoplib.Tracker(url)
    print(tracker.create(title="broken"), tracker.create(title="again"))
    service = connect(url)
    print(service.put_object(Key="a"), service.copy_object(Key="b"), service.put_object(Key="c"))
    session = requests.Session()
    session.mount("http://", Patient(seconds=10, max_retries=2))
    print(session.post(f"{url}/leads", json={"name": "Ada"}).json())
    print(type(session.get_adapter(url)).__name__, session.get_adapter(url).seconds)
    return session.get(f"{url}/orders?page=3").json()["next"]
