"""`NINELIVES_CA_FILE`: sessions trust what it names, also in libraries that were imported before they began."""

import json
import zipfile

import pytest
from tls_proxy import Proxy

from ninelives_server.testing import running

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

INFO = {
    "METADATA": "Metadata-Version: 2.1\nName: holder\nVersion: 1.0\n",
    "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "RECORD": "",
}
#: As aiohttp does: what it trusts is settled when it is imported.
HOLDER = "import ssl\nCONTEXT = ssl.create_default_context()\n"
CODE = """
import sys
WAS_THERE = "holder" in sys.modules
import urllib.request
import holder
import ninelives

@ninelives.step
def post(url):
    return urllib.request.urlopen(url, data=b"{}", context=holder.CONTEXT, timeout=20).status

def main(event):
    return [WAS_THERE, post(event.data.url)]
"""


@pytest.fixture
def proxy(counter):
    made = Proxy(("localhost",), int(counter.url.rpartition(":")[2]))
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize("is_trusted", [True, False])
def test_a_library_that_was_imported_ahead_trusts_them(proxy, tmp_path, is_trusted):
    """Without the setting the same call is refused: nothing else vouches for the server."""
    wheels, place, authority = tmp_path / "wheels", tmp_path / "calls", tmp_path / "authority.pem"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "holder-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("holder.py", HOLDER)
        for name, text in INFO.items():
            wheel.writestr(f"holder-1.0.dist-info/{name}", text)
    place.mkdir()
    (place / "requirements.txt").write_text("holder\n")
    (place / "ninelives.yaml").write_text("version: v1\nproject:\n  name: calls\n")
    (place / "main.py").write_text(CODE)
    proxy.authority.cert_pem.write_to_path(str(authority))
    env = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(wheels)}
    server = running.Up(
        tmp_path / "data", env={**env, "NINELIVES_CA_FILE": str(authority)} if is_trusted else env
    )
    try:
        server.start()
        server.cli("deploy", str(place))
        url = f"https://localhost:{proxy.port}/1"
        start = ("session", "start", "calls", "main.py:main", "-i", f"url={json.dumps(url)}", "--durable")
        found = [json.loads(server.cli(*start, "--wait", "-o", "json", check=False).stdout) for _ in range(2)]
    finally:
        server.stop()

    if is_trusted:
        assert [session["state"] for session in found] == ["completed"] * 2
        assert found[-1]["result"] == [True, 200]
    else:
        assert [session["state"] for session in found] == ["error"] * 2
        assert "CERTIFICATE_VERIFY_FAILED" in found[0]["error"]["message"]
