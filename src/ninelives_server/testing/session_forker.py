"""The program of the helper process that forks sessions for `session_harness`, as a worker's zygote does."""

#: Arguments: where the package is, the descriptor of a socket, paths of packages, modules to load ahead.
FORKER = """
import array, os, signal, socket, sys
sys.path.insert(0, sys.argv[1])
import ninelives.run.main as program
from ninelives.run import bytecode
sys.path[:0] = filter(None, sys.argv[3].split(os.pathsep))
for name in filter(None, sys.argv[4].split(",")):
    __import__(name)
control = socket.socket(fileno=int(sys.argv[2]))
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
seen = set()
while True:
    data, ancillary, _, _ = control.recvmsg(65536, socket.CMSG_SPACE(4))
    if not data:
        os._exit(0)
    fds = array.array("i")
    fds.frombytes(ancillary[0][2])
    build, work = data.decode().split("\\0")
    if build not in seen:
        seen.add(build)
        place = os.path.realpath(build)
        bytecode.keep(place, bytecode.of_build(place))
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            os.chdir(work)
            program.run_session(socket.socket(fileno=fds[0]), build)
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc(file=open(2, "w", closefd=False))
        finally:
            os._exit(code)
    os.close(fds[0])
    control.send(str(pid).encode())
"""
