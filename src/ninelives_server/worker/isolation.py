"""Decide how session processes are kept from this server's keys, and from what exactly.

What the kernel has to do is in `ninelives.run.confine` and `ninelives.run.landlock`, which run inside the
processes that are confined; docs/explanation/isolation.md explains what holds and what does not.
"""

import ctypes
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ninelives
from ninelives.run import landlock
from ninelives.run.confine import Mode

#: Who session processes are where the worker is root: the user that owns nothing ("nobody" on Linux).
NOBODY = 65534
_PR_SET_DUMPABLE = 4
#: Tries the strongest way on a directory that holds a file, and says so if the file is gone from sight.
_TRIAL = """
import os, sys
sys.path.insert(0, sys.argv[1])
from ninelives.run import confine, landlock
mode, place, uid = sys.argv[2], sys.argv[3], int(sys.argv[4])
private, builds = place + "/private", place + "/builds"
show = (builds,) if mode == "mount_namespace" else ()
hide = (place,) if mode == "mount_namespace" else (private,)
plan = confine.Plan(mode=mode, uid=uid if uid >= 0 else None, hide=hide, show=show, empty=(place + "/work",))
confine.enter(plan)
if mode == "mount_namespace":
    confine.allow_own_users()
    child = confine.fork_first(confine.own_pid_namespace())
    if child:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    confine.private_view(builds + "/one", builds, place + "/work")
    confine.own_users()
    confine.renounce()
landlock.seclude()
try:
    os.close(os.open(private + "/key", os.O_RDONLY))
except OSError:
    os._exit(42)
os._exit(1)
"""
_HIDDEN = 42
#: What root, even without capabilities, could change to have something run outside.
_SYSTEM = ("/bin", "/boot", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr", "/var/spool")
_ENVIRON = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}


def session_user(mode: Mode) -> int | None:
    """Return who session processes are to become; `None` where they stay who we are.

    Only mounts can open the way to an interpreter below a directory that is closed to others, such as /root.
    """
    return NOBODY if mode == "mount_namespace" and os.geteuid() == 0 else None


def give(directory: Path, mode: Mode) -> None:
    """Hand a directory, and what is in it, to the user that session processes run as."""
    directory.chmod(0o755)
    uid = session_user(mode)
    if uid is not None:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, uid, uid, follow_symlinks=False)


def hide_memory() -> None:
    """Keep other processes of this user from reading our memory, environment and descriptors (ptrace(2)).

    Only processes with CAP_SYS_PTRACE still can. It also means that we leave no core dump.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def base_python() -> str:
    """Return the interpreter that this one's virtual environment was made of, if it is in one."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


def clean_environ() -> dict[str, str]:
    """Return the whole environment of a zygote: none of the server's variables."""
    threads = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB", "BLIS", "RAYON")
    return {**_ENVIRON, **{f"{name}_NUM_THREADS": "1" for name in threads}}


@functools.cache
def probe() -> Mode:
    """Try out what the kernel allows here, strongest first: the answer of a process that was confined."""
    for mode in ("mount_namespace", "landlock"):
        if (mode == "mount_namespace" or landlock.version()) and _works(mode):
            return mode
    return "none"


def _works(mode: Mode) -> bool:
    with tempfile.TemporaryDirectory(prefix="ninelives-probe-") as made:
        place = Path(made)
        place.chmod(0o755)
        for name in ("private", "builds/one"):
            (place / name).mkdir(parents=True)
        (place / "private" / "key").touch(0o644)
        uid = session_user(mode)
        source = str(Path(ninelives.__file__).resolve().parents[1])
        flags = ["-S", "-s", "-P", "-B", "-X", "utf8"]
        command = [base_python(), *flags, "-c", _TRIAL, source, mode, made, str(-1 if uid is None else uid)]
        done = subprocess.run(
            command,
            env=_ENVIRON,
            cwd="/",
            capture_output=True,
            check=False,
            timeout=60,
            start_new_session=True,
        )
        return done.returncode == _HIDDEN


def plan(
    mode: Mode,
    *,
    data_dir: Path,
    private: Iterable[Path] = (),
    show: Iterable[Path] = (),
    write: Iterable[Path] = (),
) -> dict[str, object]:
    """Return what a process may see, in the form that `ninelives.run.confine.Plan.read` takes.

    Args:
        mode: What `probe` found.
        data_dir: Hidden, but for what `show` and `write` name.
        private: Other files and directories that hold keys or credentials.
        show: What the process has to read; the interpreter is added.
        write: What it may change.
    """
    forms = {form for path in (*show, *_interpreter()) for form in _forms(path)}
    needed = sorted(path for path in forms if not _is_below(path, forms - {path}))
    written = sorted({str(path.resolve()) for path in write})
    hide = {form for path in (data_dir, *private) for form in _forms(path)}
    uid = session_user(mode)
    readonly = [sys.prefix]
    if mode == "mount_namespace":
        hide |= {"/run"} | (_closed([*needed, *written]) if uid is not None else set())
        needed += [str(path) for path in _name_service()]
    elif mode == "landlock":
        hide |= set(_raw_memory())
        readonly += [path for path in _SYSTEM if Path(path).is_dir()]
    return {
        "mode": mode,
        "uid": uid,
        "hide": sorted(hide),
        "show": needed,
        "write": written,
        "readonly": [path for path in readonly if not _is_below(path, hide)],
        "empty": [str(path) for path in (data_dir / "private", data_dir / "work", data_dir / "builds")],
    }


def is_visible(plan: Mapping[str, Any], path: Path) -> bool:
    """Tell whether a process of a plan can list a directory that holds what is hidden from it."""
    given = str(path.absolute())
    if plan["mode"] == "mount_namespace":
        return not _is_below(given, plan["hide"])
    # Landlock's rules hold for all that is below: none can be given for what is above the hidden.
    return plan["mode"] == "none" or not any(_is_below(hidden, {given}) for hidden in plan["hide"])


def _forms(path: Path) -> set[str]:
    """Return a path as given and as it is without symbolic links; nothing if it does not exist."""
    return {str(path.absolute()), str(path.resolve())} if path.exists() else set()


def _interpreter() -> list[Path]:
    return [Path(sys.base_prefix), Path(sys.base_exec_prefix), Path(base_python())]


def _name_service() -> list[Path]:
    """Return where names are looked up, if that lies in a directory that is hidden."""
    resolver = Path("/etc/resolv.conf").resolve()
    return [resolver] if resolver.is_file() and _is_below(str(resolver), {"/run"}) else []


def _raw_memory() -> list[str]:
    """Return the devices from which root, even without capabilities, could read any file or process."""
    names = {"mem", "kmem", "kmsg", "port"}
    return [str(p) for p in Path("/dev").iterdir() if p.is_block_device() or p.name in names]


def _closed(paths: Iterable[str]) -> set[str]:
    """Return the topmost directories on the way to `paths` that other users cannot pass."""
    found = set()
    for path in paths:
        for parent in reversed(Path(path).parents):
            if not parent.stat().st_mode & 0o001:
                found.add(str(parent))
                break
    return found


def _is_below(path: str, tops: Iterable[str]) -> bool:
    return any(path == top or path.startswith(f"{top}/") for top in tops)
