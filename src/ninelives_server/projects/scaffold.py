"""A first project that runs: what `ninelives init` writes. It needs no connection and no library."""

from pathlib import Path

from ninelives_server.errors import Conflict, Invalid
from ninelives_server.projects import find

_MANIFEST = """\
# What this project needs and what starts it; see docs/reference/manifest.md.
version: v1 # sessions are durable unless a trigger says `is_durable: false`
project:
  name: {name}
  vars:
    - name: GREETING
      value: Hello
      description: How sessions greet; change it here or on the project's page
  triggers:
    - name: incoming
      type: webhook
      call: main.py:on_request
"""

_MAIN = '''\
"""A first project. A session that is started by hand, and one that a web request starts."""

import os
import time

GREETING = os.environ["GREETING"]


def hello(event):
    """Greet somebody, twice.

    Start it with: ninelives session start {name} main.py:hello -i name=\'"Ada"\' --durable --wait
    """
    name = event.data.get("name", "world")
    print(f"{{GREETING}}, {{name}}!")
    time.sleep(2)  # stop the server here: the session goes on where it was
    print(f"{{GREETING}} again, {{name}}!")
    return {{"greeted": name}}


def on_request(event):
    """Greet whoever calls the webhook's address, which the project's page shows."""
    body = event.data.body.json or {{}}
    print(f"{{GREETING}}, {{body.get('name', 'stranger')}}! You sent a {{event.data.method}}.")
'''

_README = """\
# {name}

A first project for Ninelives: `ninelives.yaml` says what starts sessions, `main.py` is what they run.

    ninelives deploy .
    ninelives session start {name} main.py:hello -i name='"Ada"' --durable --wait

`ninelives trigger show {name}/incoming` shows the address of the webhook;
`curl -d '{{"name": "Ada"}}' ADDRESS` starts a session too.
"""


def init(directory: Path, name: str) -> list[Path]:
    """Write a first project into a directory, which is made where it is not there.

    Returns:
        The files that were written.

    Raises:
        Invalid: The name is none for a project, or the directory cannot be written.
        Conflict: One of the files is there already; nothing is written then.
    """
    find.check_name(name)
    texts = {
        directory / "ninelives.yaml": _MANIFEST,
        directory / "main.py": _MAIN,
        directory / "README.md": _README,
    }
    there = [path for path in texts if path.exists()]
    if there:
        raise Conflict(f"{there[0]} is there already; choose another name or directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_text(text.format(name=name), encoding="utf-8")
    except OSError as error:
        raise Invalid(f"{directory} cannot be written: {error.strerror}") from None
    return list(texts)
