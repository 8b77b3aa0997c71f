"""All routes of the API in one router, and the middleware that every request passes."""

from fastapi import APIRouter

from ninelives_server.api import access, connections, health, projects, sessions, store, values, webhooks

router = APIRouter()
# First: routes are tried in order, and nothing else is called as often.
router.include_router(webhooks.router)
_v1 = APIRouter(prefix="/api/v1")
for module in (projects, connections, sessions, values, access):
    _v1.include_router(module.router)
router.include_router(_v1)
router.include_router(store.router)
router.include_router(health.router)
