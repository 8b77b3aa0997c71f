"""The server's side of the worker link, in memory: what workers are tested against.

It speaks the dialogue of `ninelives.run.wire` over a real WebSocket and real HTTP, commits to lists, and can be
told to misbehave. The real one is `ninelives_server.api.worker_link`, with tests of its own.
"""

import asyncio
import hashlib
import io
import tarfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ninelives.run import wire

TOKEN = "nl_test-token"
PREFIX = "/api/v1/worker"


def bundle(files: Mapping[str, str]) -> bytes:
    """Return a build's `.tar.gz`."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()


async def _broken_off(data: bytes) -> AsyncIterator[bytes]:
    """Send half of it and fail, as a server does whose database goes away meanwhile."""
    yield data[: len(data) // 2]
    raise ConnectionResetError("the database is away")


@dataclass
class Row:
    """A session as the server keeps it."""

    sid: str
    build: str
    start: dict[str, Any]
    requirements: list[str]
    epoch: int = 0
    holder: str | None = None
    state: str = "created"
    journal: list[wire.Frame] = field(default_factory=list)
    frames: list[wire.Frame] = field(default_factory=list)
    deaths: list[dict[str, Any]] = field(default_factory=list)
    result: bytes | None = None
    stop: bool = False
    places: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def names(self) -> list[str]:
        return [frame.head["name"] for frame in self.journal]


class FakeServer:
    """Serves any number of workers on a port of its own."""

    def __init__(self, temporal_address: str = "127.0.0.1:1", temporal_secret: str | None = None) -> None:
        self.rows: dict[str, Row] = {}
        self.builds: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.hellos: list[dict[str, Any]] = []
        self.farewells: list[str] = []
        self.stopping: list[str] = []
        self.words: list[tuple[str, str]] = []  # of environments made ahead: build, what uv has said
        self.messages = 0
        self.is_full = False  # hands out nothing: all places of the worker are given away
        self.takes_back = False  # knows `declined`, as today's does
        self.must_begin = False  # its sessions are not durable: they begin when it has answered
        self.answers_begin = True
        self.is_mute = False  # commits and does not answer
        self.config_failures: list[int] = []  # statuses that it answers before the configuration
        self.outage: list[
            int
        ] = []  # statuses that it answers to what is asked over HTTP; 0: it hangs up in the middle
        self.stays = False  # answers `park` with `stay`
        self.wall_left: float | None = None  # of sessions with a limit `wall_seconds`
        self.journal_reads: list[int] = []  # after which record each began
        self.changed = asyncio.Condition()
        self._sockets: dict[str, WebSocket] = {}
        self.config = {
            "temporal_address": temporal_address,
            "temporal_namespace": "default",
            "isolation_required": False,
            "temporal_secret": temporal_secret,
        }
        routes = [
            Route(f"{PREFIX}/config", self._get_config),
            Route(f"{PREFIX}/builds/{{sha}}", self._get_build),
            Route(f"{PREFIX}/blobs/{{sha}}", self._blob, methods=["GET", "PUT"]),
            Route(f"{PREFIX}/sessions/{{sid}}/journal", self._get_journal),
            WebSocketRoute(f"{PREFIX}/link", self._link),
        ]
        self.app = Starlette(routes=routes)
        self.port = 0

    async def __aenter__(self) -> "FakeServer":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Listen, on the same port as before if there was one."""
        config = uvicorn.Config(
            self.app,
            host="127.0.0.1",
            port=self.port,
            log_level="error",
            ws_max_size=64 << 20,
            lifespan="off",
            ws="websockets-sansio",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._server.capture_signals = __import__("contextlib").nullcontext  # type: ignore[method-assign]
        self._task = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Break all links and stop to listen."""
        for socket in list(self._sockets.values()):
            await self._break(socket)
        self._server.should_exit = True
        await self._task

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(
        self,
        sid: str,
        code: str,
        requirements: list[str] | None = None,
        *,
        files: dict[str, str] | None = None,
        **start: Any,
    ) -> Row:
        """Make a session that runs `code` as its `main.py`, beside other files."""
        data = bundle({"main.py": code, **(files or {})})
        sha = hashlib.sha256(data).hexdigest()
        self.builds[sha] = data
        document = {"t": "start", "session_id": sid, "env": {}, "secrets": [], "hashseed": "0", **start}
        self.rows[sid] = Row(sid, sha, document, requirements or [])
        return self.rows[sid]

    async def until(self, condition: Any) -> None:
        """Wait until `condition()` holds; looked at after each frame."""
        async with self.changed, asyncio.timeout(30):
            await self.changed.wait_for(condition)

    async def tell(self, sid: str, kind: str, **head: Any) -> None:
        """Send a frame to the worker that holds a session."""
        row = self.rows[sid]
        socket = self._sockets[row.holder or ""]
        await socket.send_bytes(wire.encode({"t": kind, "sid": sid, "ep": row.epoch, **head}))

    async def give(self, sid: str) -> None:
        """Give a session to the worker that said hello last."""
        worker = str(self.hellos[-1]["worker_id"])
        await self._sockets[worker].send_bytes(
            wire.encode({**self._claim(worker, self.rows[sid], sid), "is_given": True})
        )

    async def expect(self, build_id: str, *requirements: str) -> None:
        """Have the worker that said hello last make an environment."""
        head = {"t": "expect", "build_id": build_id, "requirements": list(requirements)}
        await self._sockets[str(self.hellos[-1]["worker_id"])].send_bytes(wire.encode(head))

    async def cut(self) -> None:
        """Break all links."""
        for socket in list(self._sockets.values()):
            await self._break(socket)

    async def _break(self, socket: WebSocket) -> None:
        try:
            await socket.close(1012)
        except (RuntimeError, WebSocketDisconnect):
            pass  # the worker was faster

    # HTTP

    def _may(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {TOKEN}"

    async def _get_config(self, request: Request) -> Response:
        if self.config_failures:
            return JSONResponse({}, self.config_failures.pop())
        return JSONResponse(self.config, 200 if self._may(request) else 401)

    async def _get_build(self, request: Request) -> Response:
        if self.outage:
            return Response(status_code=self.outage.pop(0))
        data = self.builds.get(request.path_params["sha"])
        return Response(data or b"", 200 if data and self._may(request) else 404)

    async def _blob(self, request: Request) -> Response:
        sha = request.path_params["sha"]
        row = self.rows[request.query_params["session"]]
        if self.outage:
            return Response(status_code=self.outage.pop(0))
        if not self._may(request) or row.epoch != int(request.query_params["epoch"]):
            return Response(status_code=409)
        if request.method == "GET":
            return Response(self.blobs[sha])
        data = await request.body()
        assert hashlib.sha256(data).hexdigest() == sha
        self.blobs[sha] = data
        return Response(status_code=204)

    async def _get_journal(self, request: Request) -> Response:
        row = self.rows[request.path_params["sid"]]
        after = int(request.query_params.get("after", 0))
        self.journal_reads.append(after)
        past = b"".join(
            wire.encode({**frame.head, "t": "past", "seq": k}, frame.body)
            for k, frame in enumerate(row.journal, 1)
            if k > after
        )
        status = self.outage.pop(0) if self.outage else 200
        if status:
            return Response(past if status == 200 else b"", status)
        return StreamingResponse(_broken_off(past))

    # The link

    async def _link(self, socket: WebSocket) -> None:
        if socket.headers.get("authorization") != f"Bearer {TOKEN}":
            await socket.close(1008)
            return
        await socket.accept()
        worker = ""
        try:
            while True:
                message = await socket.receive_bytes()
                self.messages += 1
                answers = []
                for frame in wire.decode_all(message):
                    if frame.type == "hello":
                        worker = self._hello(frame, socket)
                        answers.append(wire.encode({"t": "welcome", "worker_id": worker}))
                    elif frame.type == "stopping":
                        self.stopping.append(worker)
                    elif frame.type == "bye":
                        self.farewells.append(worker)
                        await socket.close()
                    else:
                        answers += self._on(worker, frame)
                if answers and not self.is_mute:
                    await socket.send_bytes(b"".join(answers))
                async with self.changed:
                    self.changed.notify_all()
        except (WebSocketDisconnect, RuntimeError):
            if self._sockets.get(worker) is socket:
                del self._sockets[worker]

    def _hello(self, frame: wire.Frame, socket: WebSocket) -> str:
        self.hellos.append(frame.head)
        worker = str(frame.head["worker_id"])
        self._sockets[worker] = socket
        return worker

    def _on(self, worker: str, frame: wire.Frame) -> list[bytes]:
        if frame.type == "runs":
            return []
        if "build_id" in frame.head:
            self.words.append((frame.head["build_id"], frame.body.decode()))
            return []
        row = self.rows.get(frame.head["sid"])
        if frame.type == "claim":
            answers = [wire.encode(self._claim(worker, row, frame.head["sid"]))]
            if row is not None and row.stop:
                answers.append(wire.encode({"t": "stop", "sid": row.sid, "ep": row.epoch, "reason": ""}))
            return answers
        assert row is not None
        key = {"sid": row.sid, "ep": frame.head["ep"]}
        if frame.head["ep"] != row.epoch:
            return [wire.encode({"t": "kill", **key, "why": "fenced"})]
        row.frames.append(frame)
        number = {**key, "i": frame.head.get("i")}
        match frame.type:
            case "record":
                return [wire.encode({"t": "ack", **number, "seq": self._commit(row, frame)})]
            case "call":
                head = {"t": "answer", **number, "seq": None, "value": frame.head["args"], "error": None}
                return [wire.encode(head)]
            case "park" if self.stays:
                return [wire.encode({"t": "stay", **number})]
            case "park" | "done":
                row.state = "waiting" if frame.type == "park" else "completed"
                row.holder = None
                row.result = frame.body
                return [wire.encode({"t": "parked" if frame.type == "park" else "done_ok", **number})]
            case "begin" if self.answers_begin:
                return [wire.encode({"t": "begun", **key})]
            case "declined":
                row.holder = None
            case "died":
                row.deaths.append(frame.head)
                row.holder = None
                return [wire.encode({"t": "died_ok", **key, "outcome": "retry", "delay": 0.25})]
        return []

    def _claim(self, worker: str, row: Row | None, sid: str) -> dict[str, Any]:
        if self.is_full:
            return {"t": "not_claimed", "sid": sid, "why": "full"}
        if row is None or row.state == "completed":
            return {"t": "not_claimed", "sid": sid, "why": "ended" if row else "unknown"}
        row.epoch += 1
        row.holder = worker
        row.state = "running"
        return {
            "t": "claimed", "sid": sid, "ep": row.epoch, "start": row.start, "build_sha256": row.build,
            "requirements": row.requirements, "records": len(row.journal), "may_decline": self.takes_back,
            "must_begin": self.must_begin,
            "wall_left": self.wall_left if (row.start.get("limits") or {}).get("wall_seconds") else None,
        }  # fmt: skip

    def _commit(self, row: Row, frame: wire.Frame) -> int:
        head = frame.head
        body = self.blobs[head["blob"]] if "blob" in head else frame.body
        seq = row.places.setdefault((head["track"], head["strand"], head["n"]), len(row.journal) + 1)
        if seq > len(row.journal):
            row.journal.append(wire.Frame(head, body))
        assert row.journal[seq - 1].body == body
        return seq
