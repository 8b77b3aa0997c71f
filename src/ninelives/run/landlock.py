"""Restrict this process and its children with Landlock (Linux's Documentation/userspace-api/landlock.rst).

Landlock only knows what is allowed: everything beside the hidden paths is, entry by entry. So new entries of
a directory on the way to a hidden path (`/`, `/home`, …) are out of reach until the next zygote starts.
Processes inside cannot trace one outside, nor read its memory or environment. Standard library only.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

#: System calls with the same numbers on every architecture (Linux 5.13).
_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _EXECUTE | _READ_FILE | _READ_DIR
#: Number of rights about files by version of the interface; later ones stay at the last.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
#: Abstract Unix sockets and signals of processes outside (version 6).
_SCOPES = 3

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """Return the version of the kernel's Landlock interface; 0 where it has none."""
    return max(0, int(_libc.syscall(ctypes.c_long(_CREATE), None, ctypes.c_size_t(0), ctypes.c_uint(1))))


def restrict(hide: Iterable[str], read: Iterable[str], write: Iterable[str]) -> None:
    """Allow everything but `hide`, except `read` (to be read and executed) and `write` inside it.

    Raises:
        OSError: The kernel has no Landlock, or refuses.
    """
    abi = version()
    if not abi:
        raise OSError(38, "this kernel has no Landlock")
    rights = (1 << _RIGHTS.get(abi, 16)) - 1
    ruleset = _create(rights, _SCOPES if abi >= 6 else 0)
    try:
        apart = {os.path.realpath(p) for p in (*hide, *read)}
        for path in _beside("/", apart):
            _allow(ruleset, path, rights)
        for path in read:
            _allow(ruleset, path, _READ)
        for path in write:
            _allow(ruleset, path, rights)
        _enforce(ruleset)
    finally:
        os.close(ruleset)


def seclude() -> None:
    """Put this process in a domain of its own: it cannot trace or (version 6) signal anyone outside of it."""
    abi = version()
    if not abi:
        return
    ruleset = _create(_EXECUTE, _SCOPES if abi >= 6 else 0)
    try:
        _allow(ruleset, "/", _EXECUTE)
        _enforce(ruleset)
    finally:
        os.close(ruleset)


def _create(rights: int, scopes: int) -> int:
    attributes = struct.pack("QQQ", rights, 0, scopes) if scopes else struct.pack("Q", rights)
    size = ctypes.c_size_t(len(attributes))
    return _checked(_libc.syscall(ctypes.c_long(_CREATE), attributes, size, ctypes.c_uint(0)))


def _beside(top: str, apart: set[str]) -> Iterable[str]:
    """Yield the entries below `top` that are neither in `apart` nor above one of them."""
    for entry in os.scandir(top):
        if entry.path in apart or entry.is_symlink():
            continue
        if any(path.startswith(entry.path + "/") for path in apart):
            yield from _beside(entry.path, apart)
        else:
            yield entry.path


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # gone, or not ours to see: then it needs no rule
    try:
        is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        rule = struct.pack("=Qi", rights if is_directory else rights & _FILE_RIGHTS, fd)
        kind = ctypes.c_int(_PATH_BENEATH)
        _checked(_libc.syscall(ctypes.c_long(_ADD_RULE), ruleset, kind, rule, ctypes.c_uint(0)))
    finally:
        os.close(fd)


def _enforce(ruleset: int) -> None:
    _checked(_libc.syscall(ctypes.c_long(_RESTRICT), ruleset, ctypes.c_uint(0)))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"landlock: {os.strerror(number)}")
    return int(result)
