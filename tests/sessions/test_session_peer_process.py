"""Whether another process lives, from the very moment of a kill on."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from ninelives_server.sessions.peer_process import PeerProcess

#: Has so much memory that it takes a while to give it back.
_LARGE = "import time; x = bytearray(400_000_000); print('ready', flush=True); time.sleep(600)"


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", _LARGE], stdout=subprocess.PIPE) as made:
        made.stdout.readline()
        yield made
        made.kill()


def test_a_killed_process_is_dead_before_it_has_ended(process: subprocess.Popen[bytes]) -> None:
    peer = PeerProcess(process.pid)
    assert not peer.is_dead()
    time.sleep(0.01)

    process.kill()

    assert peer.is_dead()
    peer.close()
    assert peer.is_dead()


def test_a_process_that_was_buried_is_dead(process: subprocess.Popen[bytes]) -> None:
    peer = PeerProcess(process.pid)
    process.kill()
    process.wait()

    assert peer.is_dead()


def test_a_process_that_nobody_sees_counts_as_alive() -> None:
    """Where there is no `/proc`, the end of its sockets has to do."""
    peer = PeerProcess(2**22 + 1)

    assert not peer.is_dead()
    peer.close()
