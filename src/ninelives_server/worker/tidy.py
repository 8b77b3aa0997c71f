"""Give back a worker's disk: what no session has used for long is made again when one needs it."""

import contextlib
import os
import shutil
import time
from datetime import timedelta
from pathlib import Path

from ninelives_server import log

logger = log.get(__name__)

#: Builds, environments and copies of the SDK stay this long after they were last used.
KEEP = timedelta(days=90)


def used(place: Path) -> None:
    """Note that something is needed now."""
    with contextlib.suppress(OSError):
        os.utime(place)


def prune(directory: Path, keep: timedelta = KEEP) -> None:
    """Delete what lies in a directory and was not used for so long."""
    oldest = time.time() - keep.total_seconds()
    for place in directory.iterdir():
        if place.is_dir() and place.stat().st_mtime < oldest:
            logger.info("disk.freed", path=str(place))
            shutil.rmtree(place, ignore_errors=True)
