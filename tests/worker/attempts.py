"""What project code may try in order to get at its server's keys; each returns if it works and raises if not.

The same functions run in a session, where they must fail, and in an ordinary process of root, where they must
work: else a test of isolation would prove nothing.
"""

import ctypes
import errno
import hashlib
import os
import socket
import subprocess
import sys
import urllib.request

_libc = ctypes.CDLL(None, use_errno=True)
_PTRACE_SEIZE, _PTRACE_DETACH = 0x4206, 17
_NEWNS, _NEWUSER = 0x00020000, 0x10000000


def planted_pid(private: str) -> str:
    """Where the process to be found left its number: readable for all."""
    return f"/tmp/planted-{hashlib.md5(private.encode()).hexdigest()}"


def planted_bus(private: str) -> str:
    """The address of a service that asks for no credential."""
    return "\0" + planted_pid(private)


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def read_key(private: str) -> None:
    assert open(f"{private}/key").read() == "the key"


def read_admin_token(private: str) -> None:
    assert open(f"{private}/admin-token").read() == "the token"


def read_database(private: str) -> None:
    assert open(f"{private}/ninelives.db", "rb").read() == b"the database"


def read_key_in_child(private: str) -> None:
    subprocess.run(["cat", f"{private}/key"], check=True, capture_output=True)


def read_key_through_root_of_parent(private: str) -> None:
    read_key(f"/proc/{os.getppid()}/root{private}")


def read_key_through_first_process(private: str) -> None:
    read_key(f"/proc/1/root{private}")


def list_private(private: str) -> None:
    assert os.listdir(private)


def write_private(private: str) -> None:
    open(f"{private}/planted", "w").close()


def write_environment(private: str) -> None:
    """Packages that another session would import."""
    for folder, _, _ in os.walk(f"{private}/../environments"):
        if folder.endswith("site-packages"):
            open(f"{folder}/planted.py", "w").close()
            return
    raise FileNotFoundError


def write_builds(private: str) -> None:
    builds = f"{private}/../builds"
    open(f"{builds}/{os.listdir(builds)[0]}/planted.py", "w").close()


def write_sdk(private: str) -> None:
    sdk = f"{private}/../sdk"
    open(f"{sdk}/{os.listdir(sdk)[0]}/ninelives/planted.py", "w").close()


def read_environ_of_parent(private: str) -> None:
    assert open(f"/proc/{os.getppid()}/environ", "rb").read()


def read_environ_of_server(private: str) -> None:
    """A process of the server's user holds the variable; search every process that can be seen."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if b"PLANTED=in-the-environment" in open(f"/proc/{pid}/environ", "rb").read():
                return
        except OSError:
            continue
    raise FileNotFoundError


def find_servers_variables_in_own_environ(private: str) -> None:
    assert any(name.startswith(("NINELIVES", "PLANTED")) for name in os.environ)


def read_memory_of_parent(private: str) -> None:
    with open(f"/proc/{os.getppid()}/mem", "rb", 0) as memory:
        try:
            memory.read(1)
        except OSError as error:
            assert error.errno == errno.EIO  # nothing is mapped at 0, but we might have read it


def read_memory_of_parent_by_call(private: str) -> None:
    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]

    buffer = ctypes.create_string_buffer(8)
    ours, theirs = Vector(ctypes.addressof(buffer), 8), Vector(id(None), 8)
    done = _libc.process_vm_readv(os.getppid(), ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
    if done < 0 and ctypes.get_errno() != errno.EFAULT:
        _check(done)


def trace_parent(private: str) -> None:
    _libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    _libc.ptrace.restype = ctypes.c_long
    _check(_libc.ptrace(_PTRACE_SEIZE, os.getppid(), None, None))


def steal_descriptor_of_parent(private: str) -> None:
    pidfd = os.pidfd_open(os.getppid())
    _check(_libc.syscall(438, pidfd, 0, 0))  # pidfd_getfd


def look_at_descriptors_of_parent(private: str) -> None:
    place = f"/proc/{os.getppid()}/fd"
    for name in os.listdir(place):
        os.readlink(f"{place}/{name}")


def mount_something(private: str) -> None:
    _check(_libc.mount(b"none", b"/mnt", b"tmpfs", 0, None))
    _libc.umount2(b"/mnt", 2)


def uncover(private: str) -> None:
    """Take away what lies over the data directory."""
    place = os.path.dirname(private)
    if not os.path.ismount(place):  # outside there is nothing to take away, so put something there
        _check(_libc.mount(b"none", place.encode(), b"tmpfs", 0, None))
    _check(_libc.umount2(place.encode(), 2))


def make_writable(private: str) -> None:
    """Mount what is read-only again, writable."""
    _check(_libc.mount(None, b"/proc", None, 32, None))  # MS_REMOUNT


def enter_mounts_of_parent(private: str) -> None:
    fd = os.open(f"/proc/{os.getppid()}/ns/mnt", os.O_RDONLY)
    _check(_libc.setns(fd, _NEWNS))


def gain_capabilities_in_user_namespace(private: str) -> None:
    _check(_libc.unshare(_NEWUSER | _NEWNS))


def become_root(private: str) -> None:
    os.setresuid(0, 0, 0)
    os.chown(sys.argv[2] if len(sys.argv) > 2 else "main.py", 1, 1)


def change_root(private: str) -> None:
    os.chroot("/")


def make_device(private: str) -> None:
    path = f"/tmp/device-{os.getpid()}"
    os.mknod(path, 0o600 | 0o060000, os.makedev(1, 1))
    os.unlink(path)


def read_disk(private: str) -> None:
    disks = [name for name in os.listdir("/sys/block") if os.path.exists(f"/dev/{name}")]
    open(f"/dev/{disks[0]}", "rb").close()


def change_kernel(private: str) -> None:
    with open("/proc/sys/kernel/core_pattern") as file:
        text = file.read()
    with open("/proc/sys/kernel/core_pattern", "w") as file:
        file.write(text)


def signal_server(private: str) -> None:
    os.kill(int(open(planted_pid(private)).read()), 0)


def reach_local_service(private: str) -> None:
    """A Unix socket of the abstract namespace, such as a desktop's bus has."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(planted_bus(private))


def _pid_in(path: str) -> int:
    """A process by the number in a file; in a namespace of our own that number may be ours."""
    pid = int(open(path).read())
    if pid in {os.getpid(), os.getppid(), 1}:
        raise ProcessLookupError
    return pid


def _look_into(pid: int) -> None:
    open(f"/proc/{pid}/environ", "rb").read()
    open(f"/proc/{pid}/mem", "rb").close()


def _steal_from(pid: int) -> None:
    _check(_libc.syscall(438, os.pidfd_open(pid), 0, 0))  # pidfd_getfd


def _trace(pid: int) -> None:
    _libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    _libc.ptrace.restype = ctypes.c_long
    _check(_libc.ptrace(_PTRACE_SEIZE, pid, None, None))


def read_key_through_any_root(private: str) -> None:
    """Whatever process can be seen may have another view of the files."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for way in ("root", "cwd/../../../../../../../.."):
            try:
                return read_key(f"/proc/{pid}/{way}{private}")
            except OSError:
                continue
    raise FileNotFoundError


def read_root_of_server(private: str) -> None:
    read_key(f"/proc/{_pid_in(planted_pid(private))}/root{private}")


def look_into_server(private: str) -> None:
    _look_into(_pid_in(planted_pid(private)))


def trace_server(private: str) -> None:
    _trace(_pid_in(planted_pid(private)))


def steal_descriptor_of_server(private: str) -> None:
    _steal_from(_pid_in(planted_pid(private)))


def look_into_another_session(private: str) -> None:
    """Its environment holds its project's secrets."""
    _look_into(_pid_in(planted_pid(private) + "-session"))


def trace_another_session(private: str) -> None:
    _trace(_pid_in(planted_pid(private) + "-session"))


def steal_socket_of_another_session(private: str) -> None:
    """Whoever has its socket to the supervisor speaks for it."""
    _steal_from(_pid_in(planted_pid(private) + "-session"))


def ask_the_server_without_credential(private: str) -> None:
    """The network is not confined; the server's doors on the loopback address are closed."""
    address = open(planted_pid(private) + "-server").read()
    with urllib.request.urlopen(f"{address}/api/v1/worker/config", timeout=10) as answer:
        assert answer.status == 200


def import_server(private: str) -> None:
    import ninelives_server  # noqa: F401


ALL = {
    name: value
    for name, value in globals().items()
    if callable(value) and not name.startswith(("_", "planted"))
}

if __name__ == "__main__":  # from a process between, so that the parent is not the test
    if len(sys.argv) == 3:
        sys.exit(subprocess.run([sys.executable, *sys.argv, "inner"], check=False).returncode)
    ALL[sys.argv[1]](sys.argv[2])
