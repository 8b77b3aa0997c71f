"""A client of a test's own Temporal."""

import asyncio

from temporalio.client import Client
from temporalio.service import HttpConnectProxyConfig

from ninelives_server.engine.embedded import EmbeddedTemporal
from ninelives_server.model.sessions import TEMPORAL_USER


async def connected(temporal: EmbeddedTemporal) -> Client:
    """Return a client; a Temporal that has just been started says for a moment that it is not healthy."""
    door = HttpConnectProxyConfig(temporal.address, (TEMPORAL_USER, temporal.secret))
    async with asyncio.timeout(60):
        while True:
            try:
                return await Client.connect(temporal.address, http_connect_proxy_config=door)
            except RuntimeError:
                await asyncio.sleep(0.2)
