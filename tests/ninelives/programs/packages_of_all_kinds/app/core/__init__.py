import requests as _requests
from .values import VERSION
from ..circular_a import b_name as _b

__all__ = ["public"]
hidden = 1


def public(url):
    return _requests.post(url + "/core", json={}).status_code


def typed(a: "int", b: str = "x") -> list["int"]: ...
