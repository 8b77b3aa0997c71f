"""Environments made ahead: of what was put into service, before its first session comes.

Every worker of this server is told what a deployment needs, and makes that while nobody waits for it. Where a
notice is lost, or a worker comes later, the environment is made for the first session.
"""

from collections.abc import Mapping
from typing import Final

from ninelives_server import log
from ninelives_server.model.projects import DeploymentState
from ninelives_server.sessions.link import Link
from ninelives_server.store import builds
from ninelives_server.store.core import Store, Tx

logger = log.get(__name__)

_IN_SERVICE: Final = frozenset({DeploymentState.ACTIVE, DeploymentState.TESTING})


class Ahead:
    """Tells workers what they will need."""

    def __init__(self, *, store: Store, links: Mapping[str, Link]) -> None:
        self._store = store
        self._links = links

    async def run(self) -> None:
        """Tell workers of each deployment that is put into service, until cancelled."""
        with self._store.notices.subscribed("deployment") as notice:
            while True:
                await notice.wait()
                for deployment_id in notice.take():
                    try:
                        await self._tell(deployment_id)
                    except Exception:  # a worker makes it for the first session
                        logger.exception("environment.not_told", deployment_id=deployment_id)

    async def _tell(self, deployment_id: str) -> None:
        build_id, requirements = await self._store.read(lambda tx: _needs(tx, deployment_id))
        if requirements:
            for link in self._links.values():
                link.expect(build_id, requirements)


def _needs(tx: Tx, deployment_id: str) -> tuple[str, tuple[str, ...]]:
    """Return a deployment's build and its packages; none where it gets no sessions."""
    deployment = builds.deployment_by_id(tx, deployment_id)
    if deployment is None or deployment.state not in _IN_SERVICE:
        return "", ()
    build = builds.by_id(tx, deployment.build_id)
    return deployment.build_id, () if build is None else tuple(build.requirements)
