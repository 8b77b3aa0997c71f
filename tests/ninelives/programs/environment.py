"""Variables, directories, arguments, platform, locale."""

import getpass
import locale
import os
import platform
import sys
import tempfile
import time
from pathlib import Path


def main(event):
    os.environ["MADE_HERE"] = "yes"
    print(os.environ["MADE_HERE"], os.getenv("NOT_THERE", "fallback"), time.tzname[0])
    here = Path(__file__).parent
    text = (here / "main.py").read_text().splitlines()[0]
    Path("scratch.txt").write_text("private")
    print(sorted(p.name for p in Path().glob("scratch*")))
    return [
        text,
        os.path.basename(os.getcwd()) != "",
        sys.version_info >= (3, 11),
        platform.system(),
        bool(tempfile.gettempdir()),
        locale.getpreferredencoding(False),
        os.cpu_count() > 0,
        __name__,
        isinstance(getpass.getuser(), str),
    ]
