"""A package index that answers when a test says so."""

import contextlib
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: Longer than any test waits for what it looks at. seconds
PATIENCE = 60

_FILES = {
    "METADATA": "Metadata-Version: 2.1\nName: slowly\nVersion: 1.0\n",
    "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "RECORD": "",
}


def _wheel() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as wheel:
        wheel.writestr("slowly.py", "")
        for name, text in _FILES.items():
            wheel.writestr(f"slowly-1.0.dist-info/{name}", text)
    return packed.getvalue()


class Index:
    """Has one package, `slowly` 1.0, and hands out its page once it is `open`; counts who `asked` for that."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.url = ""
        self.asked = 0

    def slow_for(self, seconds: float) -> None:
        """Be open after a while."""
        threading.Timer(seconds, self.open.set).start()


@contextmanager
def slow_index() -> Iterator[Index]:
    """Serve one."""
    index = Index()
    page, wheel = b'<a href="/slowly-1.0-py3-none-any.whl">slowly-1.0-py3-none-any.whl</a>', _wheel()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/simple/slowly"):
                index.asked += 1
                index.open.wait(PATIENCE)
                self._give(page, "text/html")
            elif self.path.endswith(".whl"):
                self._give(wheel, "application/octet-stream")
            else:
                self.send_error(404)

        do_HEAD = do_GET

        def _give(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                with contextlib.suppress(ConnectionError):  # who asked may have hung up
                    self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        index.url = f"http://127.0.0.1:{server.server_port}/simple"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield index
        finally:
            index.open.set()
            server.shutdown()
