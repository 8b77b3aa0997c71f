"""Notices that a worker's token is revoked or has expired while its link is open.

A link looks at the token once, when its worker comes, and now and then from then on. The sessions of a worker
that is hung up on go on elsewhere, as those of any worker that has lost its link.
"""

import asyncio

from ninelives_server import log
from ninelives_server.access.service import Access
from ninelives_server.errors import DatabaseAway, NinelivesError

logger = log.get(__name__)

#: Between two looks at the token of an open link. seconds
LOOK_EVERY = 5.0


async def refused(access: Access, token: str) -> None:
    """Wait until a worker's token is not good any more; a database that cannot say has changed nothing."""
    while True:
        await asyncio.sleep(LOOK_EVERY)
        try:
            await access.authenticate(token)
        except DatabaseAway:
            continue
        except NinelivesError:
            logger.warning("worker.token_refused")
            return
