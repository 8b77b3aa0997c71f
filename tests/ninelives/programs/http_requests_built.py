"""Requests of httpx and requests that are built first and sent later; a streamed answer that is left."""

import httpx2
import requests


async def main(event):
    url, found = event.data.url, []
    async with httpx2.AsyncClient(base_url=url) as client:
        request = client.build_request("POST", "/built", json={"x": 1}, timeout=5)
        found.append((await client.send(request)).json()["x"])
        async with client.stream("GET", "/orders?page=2") as answer:
            found.append(answer.status_code)
    with httpx2.Client(base_url=url) as client:
        client.headers["X-Shop"] = "one"
        found.append(client.get("/orders?page=3").request.headers["X-Shop"])
    session = requests.Session()
    prepared = session.prepare_request(requests.Request("POST", f"{url}/prepared", json={"y": 2}))
    return [*found, session.send(prepared).json()["y"]]
