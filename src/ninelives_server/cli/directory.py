"""The data directory of a server: its lock, its address, its private part."""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator

from ninelives_server.errors import SetupError
from ninelives_server.settings import Settings, address_of


@contextlib.contextmanager
def owned(settings: Settings) -> Iterator[None]:
    """Make the data directory and hold its lock.

    Raises:
        SetupError: It cannot be written, or another server uses it; its address is named.
    """
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        settings.private_dir.mkdir(mode=0o700, exist_ok=True)
        settings.private_dir.chmod(0o700)
        probe = settings.private_dir / f".probe-{os.getpid()}"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
        lock = (settings.data_dir / "lock").open("a")
    except OSError as error:
        raise SetupError(
            f"the data directory {settings.data_dir} cannot be written ({error.strerror}); "
            "free the disk, mend its owner, or choose another one with --data-dir"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(
                f"the data directory {settings.data_dir} is in use by the server at "
                f"{address_of(settings.data_dir) or 'an unknown address'}; stop that one first, "
                "or choose another one with --data-dir"
            ) from None
        yield


@contextlib.contextmanager
def announced(settings: Settings, url: str) -> Iterator[None]:
    """Write down the address for commands on this machine, as long as the server runs."""
    path = settings.data_dir / "server.json"
    fresh = path.with_suffix(".new")
    document = {"url": url, "base_url": settings.base_url, "pid": os.getpid()}
    fresh.write_text(json.dumps(document) + "\n", encoding="utf-8")
    fresh.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def bound(host: str, port: int) -> socket.socket:
    """Bind the server's socket.

    Raises:
        SetupError: The port is taken or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY on what is accepted. Without it the body of an answer,
    # sent after its head, waits until the client acknowledges that, 40 ms in most systems.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(1024)
    except OSError as error:
        sock.close()
        raise SetupError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another port with --port, "
            "or stop what uses it"
        ) from None
    sock.set_inheritable(False)
    return sock
