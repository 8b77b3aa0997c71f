"""The one activity that Temporal gives to workers; Temporal is a hint, the server decides.

What crosses to Temporal is an outcome or the name of an error's class: never a message, an argument or a
value.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from ninelives_server import log
from ninelives_server.model.sessions import ACTIVITY_NAME
from ninelives_server.worker.sessions import Outcome, Stopped

logger = log.get(__name__)

#: Between heartbeats; the server notices a dead worker by its link, this is the second line. seconds
_BEAT = 2.0

Run = Callable[[str, str, int], Awaitable[Outcome]]


class SessionActivity:
    """Runs a session in this worker."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @activity.defn(name=ACTIVITY_NAME)
    async def run_session(self, session_id: str) -> dict[str, str | None]:
        """Return `finished`, `parked` with the time at which it is due, or `not_claimed`.

        Raises:
            ApplicationError: It is to be tried again, after a while or elsewhere.
        """
        info = activity.info()
        beats = asyncio.create_task(_beat())
        try:
            outcome = await self._run(session_id, info.activity_id, info.attempt)
        except Stopped as stopped:
            logger.info("session.stopped", session_id=session_id, why=str(stopped))
            raise _retry("WorkerStopped") from None
        except Exception as error:
            logger.exception("session.failed", session_id=session_id)
            raise _retry(type(error).__name__) from None
        finally:
            beats.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beats
        if outcome.name == "died" and outcome.delay is not None:
            raise _retry("SessionDied", outcome.delay)
        if outcome.name == "parked":
            return {"outcome": "parked", "until": outcome.until}
        return {"outcome": "finished" if outcome.name == "died" else outcome.name}


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(_BEAT)


def _retry(name: str, delay: float | None = None) -> ApplicationError:
    pause = None if delay is None else timedelta(seconds=delay)
    return ApplicationError(name, type=name, next_retry_delay=pause)
