"""Log files: a line goes into one once, however often the code runs."""

import logging
import logging.handlers
from pathlib import Path

import requests


def main(event):
    log = logging.getLogger("shop")
    log.setLevel("INFO")
    appended, written = Path(event.data.dir, "appended.txt"), Path(event.data.dir, "written.txt")
    for handler in (logging.FileHandler(appended), logging.FileHandler(written, mode="w")):
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        log.addHandler(handler)
    log.info("one")
    requests.post(f"{event.data.url}/a", json={})
    log.warning("two")
    requests.post(f"{event.data.url}/b", json={})
    log.info("three")
    return [appended.read_text(), written.read_text()]
