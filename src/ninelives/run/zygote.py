"""A warm process per environment that forks session processes; standard library only.

The worker's supervisor starts it as `BASE_PYTHON -S -s -P -B -X utf8 zygote.py PARENT_PID FD`; FD is a Unix
socket of sequenced packets. The first packet says how to confine itself (`confine`), before anything of the
environment runs. It takes on the environment's packages, imports what its sessions may share (`preload`) and
answers one request after the other:

    -> fork    id build work|null limits wall_left|null network
               with descriptors: the session's socket, its output, perhaps its control group's `cgroup.procs`
    <- forked  id pid               pid as this process sees it
    <- exited  id code|null signal|null limit{name limit used}|null
    -> kill    id                   the session's whole process tree
    -> preload build                <- preloaded left{module: reason} missed[variable]

It ends when the supervisor's end of the socket closes, and takes its sessions with it. What a session does
with its socket is `ninelives.run.main`'s business; starting zygotes is the worker's.
"""

import array
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

_PACKET = 65536
#: A child that ended without a message of its pid namespace's first process was killed.
_STATUS = struct.Struct("=i")


#: Loaded here once, since each session would load them for itself.
_SHARED = ("main", "bytecode", "landlock", "limits", "preload", "watch")
#: Between two looks at what the sessions use. seconds
_LOOK = 1.0
#: How long a session that is to be killed may say where it stands. seconds
_LAST_WORDS = 0.3


class _Session:
    """A running session.

    Attributes:
        pidfd: Tells its end.
        report: The pipe with its exit status.
        excess: The limit that it has reached (`watch.Excess`); it is killed at `kill_at`.
    """

    def __init__(self, request: dict[str, Any], pidfd: int, report: int) -> None:
        self.name: str = request["id"]
        self.pidfd = pidfd
        self.report = report
        self.limits: dict[str, int] = request.get("limits") or {}
        self.wall_left: float | None = request.get("wall_left")
        self.began = time.monotonic()
        self.excess: Any = None
        self.kill_at = 0.0


def main() -> None:
    """Run until the supervisor closes its end."""
    parent = int(sys.argv[1])
    sdk = str(Path(__file__).resolve().parents[2])
    sys.path.insert(0, sdk)
    from ninelives.run import confine

    confine.die_with_parent()
    if os.getppid() != parent:
        os._exit(0)
    control = socket.socket(fileno=int(sys.argv[2]))
    spec = json.loads(control.recv(_PACKET))
    os.umask(0o022)
    try:
        confine.enter(confine.Plan.read(spec["plan"]))
    except OSError as error:
        control.send(json.dumps({"t": "failed", "why": str(error)}).encode())
        os._exit(1)
    if "command" in spec:
        os.execv(spec["command"][0], spec["command"])  # noqa: S606  # a list of ours, and no shell
    activate(spec["prefix"])
    for module in _SHARED:
        importlib.import_module(f"ninelives.run.{module}")
    _Zygote(control, spec).serve()


def activate(prefix: str) -> None:
    """Take on a virtual environment made of this interpreter: its packages, `.pth` files and `sitecustomize`.

    Starting the environment's own `python` would run those before we are confined.
    """
    if prefix:
        sys.executable = str(Path(prefix, "bin", "python"))
        sys.prefix = sys.exec_prefix = prefix
    import site

    site.main()


class _Zygote:
    """Serves the supervisor; single-threaded, so that a fork is safe."""

    def __init__(self, control: socket.socket, spec: dict[str, Any]) -> None:
        from ninelives.run import confine

        self._control = control
        self._is_namespaced = spec["plan"]["mode"] == "mount_namespace"
        self._builds: str = spec["builds"]
        self._work: str = spec["work"]
        self._sessions: dict[int, _Session] = {}
        self._pid_namespace = confine.own_pid_namespace() if self._is_namespaced else -1
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._look_at = 0.0

    def serve(self) -> None:
        """Answer requests until the supervisor is gone."""
        from ninelives.run import confine

        if self._is_namespaced:
            confine.allow_own_users()
        gc.collect()
        gc.freeze()
        self._tell(t="ready", pid=os.getpid())
        while True:
            ready = self._poll.poll(
                100 if any(s.excess is not None for s in self._sessions.values()) else 1000
            )
            for fd, _ in ready:
                if fd != self._control.fileno():
                    self._bury(fd)
                elif not self._answer():
                    self._end()
            if not ready:
                _kill_orphans(set(self._sessions))
            self._watch(time.monotonic())

    def _watch(self, now: float) -> None:
        """Have sessions that have reached a limit say where they stand, and kill them."""
        from ninelives.run import limits, watch

        for pid, session in self._sessions.items():
            if session.excess is not None and now >= session.kill_at:
                self._kill_one(pid, session)
        watched = {
            p: s
            for p, s in self._sessions.items()
            if s.excess is None and (s.limits or s.wall_left is not None)
        }
        if now < self._look_at or not watched:
            return
        self._look_at = now + _LOOK
        for pid, used in watch.usages(watched).items():
            session = watched[pid]
            seconds = now - session.began
            found = watch.excess(used, session.limits, seconds=seconds, wall_left=session.wall_left)
            if found is not None:
                session.excess, session.kill_at = found, now + _LAST_WORDS
                speaker = watch.session_process(pid, is_first=self._is_namespaced)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(speaker or pid, limits.DUMP_SIGNAL)

    def _tell(self, **message: object) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._control.send(json.dumps(message).encode())

    def _answer(self) -> bool:
        try:
            data, ancillary, _, _ = self._control.recvmsg(_PACKET, socket.CMSG_SPACE(3 * 4))
        except ConnectionResetError:
            return False
        if not data:
            return False
        request = json.loads(data)
        fds = _descriptors(ancillary)
        match request["t"]:
            case "fork":
                self._fork(request, fds)
            case "kill":
                self._kill(request["id"])
            case "preload":
                self._preload(request["build"], imports=request["imports"])
        return True

    def _preload(self, build: str, *, imports: bool) -> None:
        from ninelives.run import bytecode, preload

        names = (preload.in_child(preload.wanted, build) or []) if imports else []
        done = preload.preload(names)
        place = os.path.realpath(build)
        bytecode.keep(place, preload.in_child(bytecode.of_build, place) or {})
        gc.collect()
        gc.freeze()
        self._tell(t="preloaded", left=done.left, missed=done.missed)

    def _fork(self, request: dict[str, Any], fds: list[int]) -> None:
        from ninelives.run import confine

        ours, theirs = os.pipe()
        try:
            pid = confine.fork_first(self._pid_namespace) if self._is_namespaced else os.fork()
        except OSError as error:
            self._tell(t="exited", id=request["id"], code=None, signal=None, why=str(error), limit=None)
            for fd in (*fds, ours, theirs):
                os.close(fd)
            return
        if pid == 0:
            self._become_session(request, fds, theirs)
        for fd in (*fds, theirs):
            os.close(fd)
        pidfd = os.pidfd_open(pid)
        self._sessions[pid] = _Session(request, pidfd, ours)
        self._poll.register(pidfd, select.POLLIN)
        self._tell(t="forked", id=request["id"], pid=pid)

    def _become_session(self, request: dict[str, Any], fds: list[int], report: int) -> None:
        """In the child: never returns."""
        from ninelives.run import confine, landlock, limits

        status = 70  # EX_SOFTWARE of sysexits.h
        try:
            self._forget()
            for group in fds[2:]:
                os.write(group, b"0")
                os.close(group)
            is_counted = len(fds) > 2
            limits.restrict(request.get("limits") or {})
            _redirect(fds[1])
            if self._is_namespaced:
                places = (self._builds, self._work)
                status = _first_process(request, fds[0], report, places, is_counted=is_counted)
            else:
                os.close(report)
                landlock.seclude()
                confine.set_dumpable(True)
                _run(request, fds[0], request["work"])
                status = 0
        except BaseException as error:  # the boundary of the process
            status = _say(error)
        finally:
            os._exit(status)

    def _forget(self) -> None:
        """Close what belongs to the zygote, without its objects closing those numbers again later."""
        os.close(self._control.detach())
        for session in self._sessions.values():
            os.close(session.pidfd)
            os.close(session.report)
        self._sessions.clear()
        if self._pid_namespace >= 0:
            os.close(self._pid_namespace)

    def _bury(self, pidfd: int) -> None:
        from ninelives.run import limits

        pid = next(p for p, s in self._sessions.items() if s.pidfd == pidfd)
        session = self._sessions.pop(pid)
        self._poll.unregister(pidfd)
        _, status = os.waitpid(pid, 0)
        with os.fdopen(session.report, "rb") as report:
            told = report.read(_STATUS.size)
        os.close(pidfd)
        if not self._is_namespaced:
            _kill_orphans(set(self._sessions))
        elif os.waitstatus_to_exitcode(status) >= 0 and told:
            status = _STATUS.unpack(told)[0]
        code = os.waitstatus_to_exitcode(status)
        if session.excess is not None and code == -limits.DUMP_SIGNAL:
            code = -signal.SIGKILL  # the same, only sooner: it had said its last words
        ended = {"code": code, "signal": None} if code >= 0 else {"code": None, "signal": -code}
        limit = session.excess and session.excess._asdict()
        self._tell(t="exited", id=session.name, **ended, limit=limit)

    def _kill(self, name: str) -> None:
        for pid, session in self._sessions.items():
            if session.name == name:
                self._kill_one(pid, session)

    def _kill_one(self, pid: int, session: _Session) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(session.pidfd, signal.SIGKILL)
        if not self._is_namespaced:
            _kill_descendants(pid)

    def _end(self) -> None:
        for pid, session in self._sessions.items():
            self._kill_one(pid, session)
        os._exit(0)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)


def _redirect(output: int) -> None:
    """Read nothing, and write to the pipe whose last lines explain a crash."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(nothing)
    os.close(output)


def _first_process(
    request: dict[str, Any], sock: int, report: int, places: tuple[str, str], *, is_counted: bool
) -> int:
    """Be the first process of a session's PID namespace: start the session, bury orphans, report its end.

    The session cannot be this process: the kernel ignores signals that it sends to itself.
    """
    from ninelives.run import confine, landlock, limits

    confine.die_with_parent()
    view = confine.private_view(request["build"], *places)
    if not request.get("network", True):
        confine.cut_off_network()
    confine.own_users()
    if not is_counted:
        limits.restrict_processes(request.get("limits") or {})
    confine.renounce()
    landlock.seclude()
    confine.set_dumpable(False)
    child = os.fork()
    if child == 0:
        os.close(report)
        try:
            confine.set_dumpable(True)
            _run(request, sock, view)
            os._exit(0)
        except BaseException as error:  # the boundary of the process
            os._exit(_say(error))
    os.close(sock)
    gone, status = 0, 0
    while gone != child:
        gone, status = os.waitpid(-1, 0)
    os.write(report, _STATUS.pack(status))
    return 0


def _say(error: BaseException) -> int:
    """Write what ended a process to its output; return its exit status."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    import traceback

    with contextlib.suppress(BaseException):
        traceback.print_exception(error)
        sys.stderr.flush()
    return 70


def _run(request: dict[str, Any], sock: int, work: str) -> None:
    """Become the session's process and run it."""
    from ninelives.run import confine, preload

    confine.die_with_parent()
    confine.adopt_orphans()
    os.closerange(3, sock)
    os.closerange(sock + 1, 1 << 16)
    os.setsid()
    os.chdir(work)
    os.environ["HOME"], os.environ["TMPDIR"] = (str(Path(work).parent / name) for name in ("home", "tmp"))
    preload.reseed()
    preload.give_way(request["build"])
    sys.argv = [""]
    from ninelives.run import main as program

    program.run_session(socket.socket(fileno=sock), request["build"])
    sys.stdout.flush()
    sys.stderr.flush()


def _children(pid: int | str = "self") -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{_leader(pid)}/children").read_text().split()]
    except OSError:
        return []


def _leader(pid: int | str) -> int:
    return os.getpid() if pid == "self" else int(pid)


def _kill_descendants(top: int) -> None:
    """Kill below a session whose namespace does not do it for us; its orphans come to us next."""
    for pid in _children(top):
        _kill_descendants(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _kill_orphans(known: set[int]) -> None:
    while strangers := [pid for pid in _children() if pid not in known]:
        for pid in strangers:
            os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
