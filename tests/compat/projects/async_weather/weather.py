import asyncio
import os

import httpx
from autokitteh import activity, inhibit_activities


@activity
async def temperature(city):
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.get(f"{os.environ['WEATHER_URL']}/weather/{city}")
        return answer.json()["celsius"]


@inhibit_activities
def warmest(found):
    return max(found, key=found.get)


async def on_ask(event):
    cities = event.data.body.json["cities"]
    temperatures = await asyncio.gather(*[temperature(city) for city in cities])
    await asyncio.sleep(0.1)
    found = dict(zip(cities, temperatures))
    print(f"warmest: {warmest(found)}")
    return found
