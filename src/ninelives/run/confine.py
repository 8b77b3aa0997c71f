"""Put this server's keys out of a process's reach before it runs anything of a project's (Linux).

`enter` takes a process that has run nothing but our own code and hides the given directories from it: with
two mount namespaces, the inner one owned by a user namespace of its own so that what the outer one covered
is locked (mount_namespaces(7), "Restrictions on mount namespaces"), or with Landlock (landlock(7)) where the
kernel refuses namespaces. `fork_first` and `private_view` then give one session its own processes and its
own copy of the build, and `renounce` takes away every capability. Standard library only: it runs in the
interpreter of the project's environment. What to hide, and in which of the two ways, is the caller's
business. See docs/explanation/isolation.md.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Mode = Literal["mount_namespace", "landlock", "none"]

NEWNS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 1, 4, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL = 36, 38, 47, 4
#: The same numbers on every architecture since Linux 5.1.
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE, _ATTR_RDONLY = -100, 0x8000, 1
_CAP_VERSION_3 = 0x20080522
#: No kernel has a capability of a higher number (capabilities(7): 41 of them at Linux 5.9).
_CAP_LIMIT = 64
_USER_NAMESPACES = "/proc/sys/user/max_user_namespaces"
#: More than a zygote ever has sessions.
_MANY = "100000"
#: Reads of a covered directory find this mode.
_COVER = "mode=755,size=64k"

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(OSError):
    """The kernel does not allow this way of confining a process."""


@dataclass(frozen=True)
class Plan:
    """What a confined process may see.

    Attributes:
        mode: How to confine; `none` only gives up privileges.
        uid: Who to become where we are root; `None` stays.
        hide: Directories and files that are to be empty.
        show: Paths inside `hide` that stay visible, read-only.
        write: Paths inside `hide` that stay visible and writable.
        readonly: Paths outside `hide` that must not be changed.
        empty: Directories to make inside `hide`, for later mounts and for who looks.
    """

    mode: Mode
    uid: int | None = None
    hide: tuple[str, ...] = ()
    show: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    readonly: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()

    @classmethod
    def read(cls, spec: Mapping[str, object]) -> "Plan":
        """Make a plan from its JSON form."""
        lists = {k: tuple(v) for k, v in spec.items() if isinstance(v, list)}
        return cls(mode=spec["mode"], uid=spec.get("uid"), **lists)  # type: ignore[arg-type]


def _check(result: int, doing: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise Refused(number, f"{doing}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Leave namespaces (unshare(2))."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def _setns(fd: int, kind: int) -> None:
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Mount something (mount(2))."""
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None
    )
    _check(result, f"mount {kind or source} on {target}")


def make_readonly(target: str, *, below: bool = True) -> None:
    """Make a mount, and those below it, read-only; other flags, locked or not, stay (mount_setattr(2))."""
    attributes = struct.pack("QQQQ", _ATTR_RDONLY, 0, 0, 0)
    flags, size = ctypes.c_uint(_AT_RECURSIVE if below else 0), ctypes.c_size_t(len(attributes))
    number = ctypes.c_long(_SYS_MOUNT_SETATTR)
    done = _libc.syscall(number, _AT_FDCWD, target.encode(), flags, attributes, size)
    _check(done, f"mount_setattr {target}")


def _prctl(option: int, *values: int) -> int:
    given = [ctypes.c_ulong(v) for v in (*values, 0, 0, 0, 0)[:4]]
    return int(_libc.prctl(option, *given))


def die_with_parent() -> None:
    """Ask for SIGKILL at the death of the thread that started us; a change of user cancels it."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def set_dumpable(is_dumpable: bool) -> None:
    """Allow or refuse that processes of our own user read our memory and environment (ptrace(2))."""
    _prctl(_PR_SET_DUMPABLE, int(is_dumpable))


def adopt_orphans() -> None:
    """Become the parent of the orphans among our descendants."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """Make set-user-ID programs and file capabilities give nothing."""
    _check(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "no_new_privs")


def renounce() -> None:
    """Drop all capabilities for good: bounding, ambient, inheritable, permitted and effective."""
    forbid_new_privileges()
    for number in range(_CAP_LIMIT):
        if _prctl(_PR_CAPBSET_DROP, number) < 0:
            break  # EINVAL: past the last one; EPERM: there is nothing that could be dropped
    _prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
    header = struct.pack("Ii", _CAP_VERSION_3, 0)
    _check(_libc.capset(header, bytes(24)), "capset")


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)  # nothing is imported late here: the interpreter may be out of sight
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _map_self(uid: int, gid: int) -> None:
    """Map our own user and group to themselves in the user namespace that we just made."""
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")


def enter(plan: Plan) -> None:
    """Confine this process as planned, before anything of a project's runs in it.

    In the mode `mount_namespace` what returns is a child: the first process of a PID namespace. The caller's
    process waits for it, and ends as it ends.

    Raises:
        Refused: The kernel does not allow it. The process must end; it may be half confined.
    """
    forbid_new_privileges()
    if plan.mode == "mount_namespace":
        _enter_namespaces(plan)
    else:
        if plan.mode == "landlock":
            from ninelives.run import landlock

            landlock.restrict(plan.hide, (*plan.show, *plan.readonly), plan.write)
        if plan.uid is not None and os.geteuid() == 0:
            _become(plan.uid)
            die_with_parent()
        renounce()
        adopt_orphans()
        set_dumpable(False)


def _enter_namespaces(plan: Plan) -> None:
    is_root = os.geteuid() == 0
    uid, gid = os.geteuid(), os.getegid()
    if is_root:
        unshare(NEWNS)
    else:
        unshare(NEWUSER | NEWNS)
        _map_self(uid, gid)
    mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    lay_out(plan)
    inner = NEWUSER | NEWNS | NEWPID | NEWIPC
    if is_root:
        target = uid if plan.uid is None else plan.uid
        with _mapper(target):
            unshare(inner)
        _become(target)
    else:
        unshare(inner)
        _map_self(uid, gid)
    _continue_in_child()
    mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    # Without this, project code could make a user namespace and have capabilities in it again.
    _write(_USER_NAMESPACES, "0")


@contextlib.contextmanager
def _mapper(uid: int) -> Iterator[None]:
    """Have a privileged child write the maps of the user namespace that the body makes.

    Only a process outside of the new namespace may map a user that is not its own.
    """
    told, tell = os.pipe()
    us = os.getpid()
    child = os.fork()
    if child == 0:
        status = 1
        os.close(tell)
        with contextlib.suppress(BaseException):
            if os.read(told, 1):
                _write(f"/proc/{us}/gid_map", f"{uid} {uid} 1")
                _write(f"/proc/{us}/uid_map", f"{uid} {uid} 1")
                status = 0
        os._exit(status)
    try:
        yield
        os.write(tell, b"x")
    finally:
        os.close(tell)
        os.close(told)
        _, status = os.waitpid(child, 0)
    if status != 0:
        raise Refused(1, "the user namespace cannot be mapped")


def _become(uid: int) -> None:
    """Change user and group for good, and drop all other groups."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _continue_in_child() -> None:
    """Fork; return in the child. The parent waits for it and ends with its status."""
    die_with_parent()  # a change of user took it away
    parent = os.pidfd_open(os.getpid())
    child = os.fork()
    if child == 0:
        die_with_parent()
        set_dumpable(True)  # the change of user took it away, and /proc/sys is written by name
        os.close(parent)
        return
    os.closerange(3, 1 << 16)  # the control socket, whose end tells that the child has gone
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def lay_out(plan: Plan) -> None:
    """Cover what is hidden with empty, read-only file systems, and put what stays visible back into them."""
    visible = (*plan.show, *plan.write)
    kept = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in visible}
    covers = _outermost(plan.hide)
    for path in covers:
        _cover(path)
    for path in sorted(p for p in plan.empty if _is_inside(p, covers)):
        Path(path).mkdir(parents=True, exist_ok=True)
    for path in sorted(p for p in kept if _is_inside(p, covers)):
        _put_back(path, kept[path])
        if path in plan.show:
            make_readonly(path)
    for path in plan.readonly:
        mount(path, path, "", _MS_BIND | _MS_REC)
        make_readonly(path)
    for path in _outermost(p for p in plan.hide if p not in covers and _is_inside(p, visible)):
        _cover(path)
    for path in covers:
        make_readonly(path, below=False)
    for fd in kept.values():
        os.close(fd)


def _outermost(paths: Iterable[str]) -> list[str]:
    found: list[str] = []
    for path in sorted(paths):
        if not _is_inside(path, found) and os.path.lexists(path):
            found.append(path)
    return found


def _is_inside(path: str, tops: Iterable[str]) -> bool:
    return any(path == top or path.startswith(top.rstrip("/") + "/") for top in tops)


def _cover(path: str) -> None:
    if os.path.isdir(path):  # noqa: PTH112
        mount("none", path, "tmpfs", _MS_NOSUID | _MS_NODEV, _COVER)
    else:
        mount("/dev/null", path, "", _MS_BIND)


def _put_back(path: str, fd: int) -> None:
    source = f"/proc/self/fd/{fd}"
    place = Path(path)
    if Path(source).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.touch()
    mount(source, path, "", _MS_BIND | _MS_REC)


def own_pid_namespace() -> int:
    """Return a descriptor of this process's PID namespace, for `fork_first`."""
    return os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)


def fork_first(own: int) -> int:
    """Fork into a new PID namespace, of which the child is the first process; return as `os.fork` does."""
    unshare(NEWPID)
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid:  # unshare(2) works only once, unless the next children's namespace is ours
            with contextlib.suppress(Refused):
                _setns(own, NEWPID)
    return pid


def allow_own_users() -> None:
    """Let processes of ours make user namespaces, each with `own_users`; it takes capabilities here."""
    _write(_USER_NAMESPACES, _MANY)


def own_users() -> None:
    """Give this process a user namespace of its own, in which no further one can be made.

    What is counted for a user (RLIMIT_NPROC) is counted in it alone (Linux 5.14). It opens nothing: what is
    mounted belongs to the namespace outside.
    """
    uid, gid = os.geteuid(), os.getegid()
    unshare(NEWUSER)
    _map_self(uid, gid)
    _write(_USER_NAMESPACES, "0")


def cut_off_network() -> None:
    """Give this process a network namespace with nothing in it, not even a loopback address that answers."""
    unshare(NEWNET)


def private_view(build: str, builds: str, work: str) -> str:
    """Give this process its own /proc, one build only, and a directory that starts as a copy of the build.

    Returns:
        The directory's path; `home` and `tmp` lie beside it. They are memory, and gone with the session.
    """
    unshare(NEWNS)
    mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    fd = os.open(build, os.O_PATH | os.O_CLOEXEC)
    _cover(builds)
    _put_back(build, fd)
    make_readonly(build)
    make_readonly(builds, below=False)
    os.close(fd)
    mount("none", work, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=1g")
    view, upper, scratch = (Path(work, name) for name in ("session", ".upper", ".scratch"))
    for directory in (view, upper, scratch, Path(work, "home"), Path(work, "tmp")):
        directory.mkdir()
    _overlay(build, str(upper), str(scratch), str(view))
    return str(view)


def _overlay(lower: str, upper: str, scratch: str, view: str) -> None:
    fds = [os.open(path, os.O_PATH) for path in (lower, upper, scratch)]
    below, above, aside = (f"/proc/self/fd/{fd}" for fd in fds)  # names may hold `:` and `,`
    options = f"lowerdir={below},upperdir={above},workdir={aside},userxattr"
    try:
        mount("overlay", view, "overlay", _MS_NOSUID | _MS_NODEV, options)
    except Refused:  # before Linux 5.11, or the build lies on a file system that cannot be below
        shutil.copytree(lower, view, symlinks=True, dirs_exist_ok=True)
    finally:
        for fd in fds:
            os.close(fd)
