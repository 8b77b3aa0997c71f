"""Frames between session process, supervisor and server: a JSON header and an opaque body.

A frame is `u32 length of the rest | u32 length of the header | header (JSON object) | body`, big endian. The
same frames travel over the session's socket and, any number together in one binary message, over the worker
link. The header's `t` names the type. See docs/explanation/journal.md for the dialogue.

Session -> supervisor -> server
    hello   pid (stops at the supervisor)
    record  i track strand n kind name digest status attempt start end preview    body: value
    call    i key{strand,n}|null name args digest start preview        body: large values among args, as JSON
    park    i until|null awaits[topic]
    waiting is_waiting (all strands wait, or not any more)
    checked outcome seq strand n recorded called file line message (only where `start` has `check`)
    done    i state error|null restart|absent (data of a successor)  body: result as JSON, or large restart
Server -> supervisor -> session
    start   session_id entrypoint is_durable env event seed secrets semantics records limits
            ceilings park_after call_limit (first frame)
    past    seq track strand n kind name digest status attempt start end          body: value
    go      (the journal is complete)
    ack     i seq
    refuse  i reason (`fenced`, `different`, `limit`)
    answer  i seq|null value|null error{type,message}|null                        body: optional
    wait    i until|null left|null (a call that waits found nothing: ask again when there is mail)
    mail    (something has come into the inbox)
    parked  i          stay  i
    stop    reason     (graceful: raise `Stopped` in strand 0)
    done_ok i
On the link every frame also has `sid` and `ep` (epoch), and the following are added. Where the server has the
session's socket itself, frames of the session's do not travel on the link.
Worker -> server
    hello      worker_id name slots python isolation semantics[versions] takes sessions[{sid,ep}]
    runs       sessions[{sid,ep}]      what it runs now, every 2 s
    claim      sid activity_id attempt
    preparing  sid ep packages         its environment, of so many, is being made; 0: not any more
                                       body: what uv has said so far, or nothing new
    died       sid ep signal|null exit_code|null reason stderr limit{name limit used}|null
    declined   sid ep                  it stops, and has not begun the session (where it `may_decline`)
    stopping                           it takes nothing more
    bye                                it stops and holds nothing more; the server hangs up
    blobbed records carry `blob` (sha256 in hex) instead of a body over BLOB_OVER bytes
Server -> worker
    welcome    worker_id
    claimed    sid ep start{…} build_sha256 requirements records is_given (the worker did not ask for it)
               may_decline (the server knows `declined`)
    not_claimed sid why (`ended`, `held`, `unknown`, `semantics`, `python`, `full`)
    kill       sid ep why
    died_ok    sid ep outcome (`retry`, `error`) delay (seconds)
    gone       sid ep why (all that a process which speaks to the server itself said has its answer)
    still      sid ep (such a process has nothing in hand any more, after `stopping`)
    parked     sid ep until   done_ok  sid ep (such a process leaves)
    check         id build_sha256 requirements               (code that is not deployed, and journals to try)
    check_build   id                                                                 body: a piece
    check_session id sid start
    check_past    id sid                                                             body: a piece
    check_run     id sid            -> checked id sid …
    check_over    id
"""

import asyncio
import json
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

#: A record's body of more bytes travels over HTTP as a blob. bytes
BLOB_OVER = 256 * 1024
#: The largest value of a step. bytes
VALUE_LIMIT = 32 * 1024 * 1024
#: No frame is larger; a length above it is a broken stream. bytes
FRAME_LIMIT = VALUE_LIMIT + 4 * 1024 * 1024

_HEAD = struct.Struct(">II")
# Made once: `json.dumps` with options makes an encoder for each call, and this is on the path of each step.
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_DECODER = json.JSONDecoder()


class Frame(NamedTuple):
    """One message.

    Attributes:
        head: JSON object; `t` is its type.
        body: Opaque bytes; neither supervisor nor server ever unpickles them.
    """

    head: dict[str, Any]
    body: bytes = b""

    @property
    def type(self) -> str:
        """The frame's type."""
        return str(self.head["t"])


class BrokenFrame(ValueError):
    """The bytes are no frame."""


def encode(head: Mapping[str, Any], body: bytes = b"") -> bytes:
    """Return the bytes of a frame; half of a surrogate pair travels as JSON escapes it."""
    text = _ENCODER.encode(head).encode("utf-8", "backslashreplace")
    return _HEAD.pack(4 + len(text) + len(body), len(text)) + text + body


def decode(data: bytes, at: int, end: int) -> Frame:
    """Return the frame that stands in `data` from `at` to `end`.

    Raises:
        BrokenFrame: What stands there is none.
        ValueError: Its header is no JSON.
    """
    body = at + _HEAD.size + int(_HEAD.unpack_from(data, at)[1])
    if body > end:
        raise BrokenFrame("the header is longer than the frame")
    text = data[at + _HEAD.size : body].decode()
    # `json.loads` looks for an encoding and for blanks first, which takes as long as the rest.
    head, size = _DECODER.raw_decode(text)
    if size != len(text) or not isinstance(head, dict) or "t" not in head:
        raise BrokenFrame("the header is no object with a type")
    return Frame(head, data[body:end])


def decode_all(data: bytes) -> Iterator[Frame]:
    """Yield the frames of one binary message."""
    at, size = 0, len(data)
    while at < size:
        if size - at < _HEAD.size:
            raise BrokenFrame("the message ends inside a frame")
        end = at + 4 + int(_HEAD.unpack_from(data, at)[0])
        if end > size or end - at > FRAME_LIMIT + 4:
            raise BrokenFrame("the message ends inside a frame")
        yield decode(data, at, end)
        at = end


class Joiner:
    """Puts the frames together that a stream brings in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def joined(self, data: bytes) -> bytes:
        """Return the whole frames of what has come so far and was not returned yet.

        Raises:
            BrokenFrame: A frame is over the limit.
        """
        data = self._rest + data if self._rest else data
        at, size = 0, len(data)
        while size - at >= _HEAD.size:
            end = at + _HEAD.size + _rest_of(data[at : at + _HEAD.size])
            if end > size:
                break
            at = end
        self._rest = data[at:]
        return data[:at]


def _rest_of(first: bytes) -> int:
    """Return how many bytes of a frame follow its two lengths."""
    length = int(_HEAD.unpack(first)[0])
    if not 4 <= length <= FRAME_LIMIT:
        raise BrokenFrame(f"a frame of {length} bytes is over the limit")
    return length - 4


def _exactly(sock: socket.socket, size: int) -> bytes:
    parts = bytearray(size)
    view = memoryview(parts)
    got = 0
    while got < size:
        count = sock.recv_into(view[got:])
        if count == 0:
            raise EOFError("the other side closed the socket")
        got += count
    return bytes(parts)


def receive(sock: socket.socket) -> Frame:
    """Read one frame from a blocking socket.

    Raises:
        EOFError: The other side has closed it.
    """
    first = _exactly(sock, _HEAD.size)
    size = _rest_of(first)
    return decode(first + _exactly(sock, size), 0, _HEAD.size + size)


async def read(reader: asyncio.StreamReader) -> Frame:
    """Read one frame from a stream.

    Raises:
        asyncio.IncompleteReadError: The other side has closed it.
    """
    first = await reader.readexactly(_HEAD.size)
    size = _rest_of(first)
    return decode(first + await reader.readexactly(size), 0, _HEAD.size + size)
