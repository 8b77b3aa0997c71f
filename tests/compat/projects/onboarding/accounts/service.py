import os
from dataclasses import asdict, dataclass

import requests
from tenacity import retry, stop_after_attempt, wait_none


@dataclass
class Account:
    name: str
    service: str
    id: int = 0


class Busy(Exception):
    def __init__(self, service, *, status):
        super().__init__(f"{service} is busy")
        self.status = status


@retry(stop=stop_after_attempt(3), wait=wait_none(), reraise=True)
def create(account: Account) -> Account:
    answer = requests.post(f"{os.environ['HR_URL']}/accounts", json=asdict(account), timeout=60)
    if answer.status_code == 503:
        raise Busy(account.service, status=answer.status_code)
    account.id = answer.json()["id"]
    return account
