"""What a worker deletes from its disk."""

import os
import time
from datetime import timedelta
from pathlib import Path

from ninelives_server.worker import tidy


def test_what_was_not_used_for_long_is_deleted(tmp_path: Path) -> None:
    """It can be made again; what was used since stays."""
    for name in ("old", "used"):
        (tmp_path / name / "deep").mkdir(parents=True)
        os.utime(tmp_path / name, (time.time() - 100_000,) * 2)
    (tmp_path / ".lock").touch()
    os.utime(tmp_path / ".lock", (0, 0))

    tidy.used(tmp_path / "used")
    tidy.prune(tmp_path, keep=timedelta(days=1))

    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "used"]
