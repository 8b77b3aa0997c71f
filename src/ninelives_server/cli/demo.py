"""`demo`: the main story, end to end, on this machine and with the fake Salesforce org.

The story itself is told by `testing.story`; here are only the command and what it prints.
"""

import json
import signal
import sys
import tempfile
import time
from pathlib import Path

import click

from ninelives_server.cli import output as out
from ninelives_server.cli.client import FAILED, fail


@click.command()
@click.option(
    "--once", is_flag=True, help="unattended: exit after the story, with a JSON summary as the last line"
)
def demo(*, once: bool) -> None:
    """Connect a fake Salesforce org, route a Lead, kill the worker in the middle, and see it finish."""
    from ninelives_server.testing import story

    began = time.monotonic()
    # As Ctrl-C does: what was started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="ninelives-demo-") as directory:
        try:
            with story.stage(Path(directory), say=_say) as stage:
                summary = story.tell(stage)
                summary["seconds"] = round(time.monotonic() - began, 1)
                click.echo(json.dumps(summary))
                if not once:
                    _leave_open(stage)
        except (RuntimeError, TimeoutError, LookupError) as error:
            fail(f"the demo did not get through: {error}", FAILED)


def _say(text: str) -> None:
    out.say(f"  {text}")


def _leave_open(stage: "object") -> None:
    from ninelives_server.testing import story

    assert isinstance(stage, story.Stage)
    out.say(story.by_hand(stage))
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        out.say("stopping …")
