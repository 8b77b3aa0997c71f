"""Starts an org for a test, in a thread of this process or in a process of its own.

    async with FakeSalesforce.start(callbacks=[...]) as org: ...      # or plain `with`
    with FakeSalesforce.spawn() as org: ...

In a thread, `org.control` works on the org directly and `org.state` is the org itself; in a process it
speaks HTTP and has the same methods (keyword arguments only).
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, cast

from ninelives_server.testing.fake_salesforce import apps, main
from ninelives_server.testing.fake_salesforce.behaviour import Behaviour
from ninelives_server.testing.fake_salesforce.control.client import ControlClient
from ninelives_server.testing.fake_salesforce.control.desk import Desk
from ninelives_server.testing.fake_salesforce.main import Details, Options, Running
from ninelives_server.testing.fake_salesforce.org import Org

_START_SECONDS = 60
_STOP_SECONDS = 20


class FakeSalesforce:
    """One org, between the start and the end of a `with` or `async with` block.

    Attributes:
        details: Addresses, app, user; what the command prints.
        control: What a test does from the side.
        http_url: Base of plain HTTP, or `None` where it is off.
        state: The org itself; only where it runs in this process.
    """

    details: Details
    control: Desk
    http_url: str | None
    state: Org

    def __init__(self, options: Options, *, own_process: bool) -> None:
        self._options = options
        self._own_process = own_process
        self._stack = ExitStack()

    @classmethod
    def start(
        cls, *, callbacks: Sequence[str] = (apps.DEFAULT_CALLBACK,), behaviour: Behaviour | None = None,
        **options: Any,
    ) -> Self:  # fmt: skip
        """Prepare an org in a thread of this process; `options` are those of `main.Options`."""
        return cls(_options(callbacks, behaviour, options), own_process=False)

    @classmethod
    def spawn(
        cls, *, callbacks: Sequence[str] = (apps.DEFAULT_CALLBACK,), behaviour: Behaviour | None = None,
        **options: Any,
    ) -> Self:  # fmt: skip
        """Prepare an org in a process of its own."""
        return cls(_options(callbacks, behaviour, options), own_process=True)

    def __enter__(self) -> Self:
        with self._stack:
            if self._own_process:
                self._enter_process()
            else:
                self._enter_thread()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.__exit__, *exc)

    @property
    def ca_file(self) -> Path:
        """Return the certificate authority to trust."""
        return Path(self.details.ca_file)

    # -- a thread -----------------------------------------------------------------------------

    def _enter_thread(self) -> None:
        ready: Future[Running] = Future()
        stop: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        thread = threading.Thread(target=self._serve, args=(ready, stop), name="fake-salesforce")
        thread.start()
        self._stack.callback(thread.join, _STOP_SECONDS)
        loop, event = stop.result(_START_SECONDS)
        self._stack.callback(_set, loop, event)
        running = ready.result(_START_SECONDS)
        self.details, self.control, self.state = running.details, running.desk, running.org
        self.http_url = running.http_url

    def _serve(
        self, ready: "Future[Running]", stop: "Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]"
    ) -> None:
        async def whole_life() -> None:
            event = asyncio.Event()
            stop.set_result((asyncio.get_running_loop(), event))
            await main.serve_until(event, self._options, ready.set_result)

        try:
            asyncio.run(whole_life())
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    # -- a process ----------------------------------------------------------------------------

    def _enter_process(self) -> None:
        process = subprocess.Popen(self._argv(), stdout=subprocess.PIPE, text=True)
        self._stack.callback(_end, process)
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the fake org did not start; it ended with {process.wait()}")
        found = json.loads(line)
        self.http_url = found.pop("http_url", None)
        self.details = Details(**found)
        client = ControlClient(self.details.control_url, self.ca_file)
        self._stack.callback(client.close)
        self.control = cast("Desk", client)

    def _argv(self) -> list[str]:
        options = self._options
        argv = [sys.executable, "-m", "ninelives_server.testing.fake_salesforce"]
        argv += ["--port", str(options.port), "--pubsub-port", str(options.pubsub_port)]
        argv += ["--host-name", options.host_name, "--bind", options.bind]
        argv += [part for name in options.names for part in ("--name", name)]
        argv += [part for callback in options.callbacks for part in ("--callback", callback)]
        if options.http_port is not None:
            argv += ["--http-port", str(options.http_port)]
        if options.directory:
            argv += ["--dir", str(options.directory)]
        default = Behaviour()
        for name in Behaviour.__dataclass_fields__:
            value = getattr(options.behaviour, name)
            if value != getattr(default, name):
                argv += ["--behaviour", f"{name}={json.dumps(value)}"]
        return argv


def _options(callbacks: Sequence[str], behaviour: Behaviour | None, more: dict[str, Any]) -> Options:
    return Options(callbacks=tuple(callbacks), behaviour=behaviour or Behaviour(), **more)


def _set(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop ended by itself
        loop.call_soon_threadsafe(event.set)


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
