"""`/healthz` (the process), `/readyz` (its parts), `/metrics` (Prometheus) and the schema of manifests."""

import asyncio

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ninelives_server import log
from ninelives_server.api import metrics
from ninelives_server.api.auth import TheActor, TheServices
from ninelives_server.projects import manifest
from ninelives_server.services import Services

logger = log.get(__name__)
router = APIRouter(tags=["health"])

#: A database that has not answered by then counts as gone. seconds
PATIENCE = 5.0


@router.get("/healthz", include_in_schema=False)
async def healthz() -> Response:
    """Tell that the process answers."""
    return PlainTextResponse("ok\n")


@router.get("/readyz", include_in_schema=False)
async def readyz(services: TheServices) -> Response:
    """Tell whether the server can do its work: its database answers and Temporal is there."""
    checks = {"database": await _database_answers(services), "temporal": services.starter.is_connected}
    return JSONResponse(
        {"ready": all(checks.values()), "checks": checks}, 200 if all(checks.values()) else 503
    )


async def _database_answers(services: Services) -> bool:
    """Ask the database something; whatever goes wrong there, this server is not ready."""
    try:
        async with asyncio.timeout(PATIENCE):
            await services.sessions.counts()
    except Exception as error:  # noqa: BLE001 - drivers have no common root, and the answer is the report
        logger.warning("database.unavailable", error=type(error).__name__)
        return False
    return True


@router.get("/ninelives.schema.json", include_in_schema=False)
async def manifest_schema() -> Response:
    """Return the JSON Schema of manifests, for editors."""
    return JSONResponse(manifest.schema(), media_type="application/schema+json")


@router.get("/metrics", include_in_schema=False)
async def show_metrics(services: TheServices, actor: TheActor) -> Response:
    """Return the metrics in Prometheus' text format; the numbers of sessions are of the whole server."""
    _ = actor
    for state, count in (await services.sessions.counts()).items():
        metrics.SESSIONS.labels(state=str(state)).set(count)
    for connection_state, count in (await services.connections.counts()).items():
        metrics.CONNECTIONS.labels(state=str(connection_state)).set(count)
    return Response(generate_latest(metrics.METRICS), media_type=CONTENT_TYPE_LATEST)
