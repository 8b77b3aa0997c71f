"""Whether a process of this machine still lives, asked so often that it must cost nothing.

A process that was killed gives back its memory before it closes its sockets, which takes milliseconds. Who
must not listen to its children any more from the kill on cannot wait for that (proc(5), `/proc/PID/stat`).
"""

import contextlib
import os
import signal
import time

#: A process that lived is not looked at again for so long. seconds
_TRUSTED = 0.001
#: Fields of `/proc/PID/stat` behind the name, which may hold anything: flags, pending signals.
_FLAGS, _PENDING = 6, 28
_EXITING = 0x4  # PF_EXITING of linux/sched.h
_KILLED = 1 << (signal.SIGKILL - 1)


class PeerProcess:
    """The process at the other end, by its id; one that `/proc` does not show at first counts as alive."""

    def __init__(self, pid: int) -> None:
        self._file = -1
        self._looked = 0.0
        self._is_dead = False
        with contextlib.suppress(OSError):
            self._file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)

    def is_dead(self) -> bool:
        """Tell whether it was killed or ends."""
        now = time.monotonic()
        if self._file >= 0 and not self._is_dead and now - self._looked >= _TRUSTED:
            self._looked = now
            self._is_dead = self._look()
        return self._is_dead

    def _look(self) -> bool:
        try:
            fields = os.pread(self._file, 1024, 0).rpartition(b")")[2].split()
        except OSError:  # it was buried
            return True
        return bool(int(fields[_FLAGS]) & _EXITING or int(fields[_PENDING]) & _KILLED)

    def close(self) -> None:
        """Look no more; whatever it is now, it stays."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
