"""All routes of the API in one router, and the middleware that every request passes."""

from fastapi import APIRouter

from ninelives_server.api import (
    access,
    connections,
    deploys,
    health,
    projects,
    sessions,
    store,
    values,
    watching,
)

# Taken over as they are: `include_router` would make each of them a second time, at every start.
router = APIRouter()
for module in (projects, deploys, connections, sessions, watching, values, access, store, health):
    router.routes.extend(module.router.routes)
