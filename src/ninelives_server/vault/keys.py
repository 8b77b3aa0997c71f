"""Master keys: where they come from. They wrap data keys and nothing else.

The text form is `id:base64,id:base64,…`, the newest first; the file form has one on each line. Where they are
kept safe is left to whoever runs the server: losing them loses every secret in the database.
"""

import base64
import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ninelives_server.errors import SetupError
from ninelives_server.settings import Settings

KEY_BYTES = 32  # AES-256
_ID = re.compile(r"[A-Za-z0-9._-]{1,40}")
_HOW = "a key is written ID:BASE64 with 32 random bytes, such as k1:$(openssl rand -base64 32)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """The master keys that this server has.

    Attributes:
        current: Id of the one that wraps new data keys.
        keys: All of them by id; the others only unwrap.
        source: Where they came from, for messages.
    """

    current: str
    keys: Mapping[str, bytes] = field(repr=False)
    source: str


def parse(text: str, source: str) -> Keyring:
    """Read `id:base64` entries, parted by commas or white space; the first one is current.

    Raises:
        SetupError: There is none, or one is malformed; the message never holds a key.
    """
    keys: dict[str, bytes] = {}
    for number, entry in enumerate(filter(None, re.split(r"[\s,]+", text)), start=1):
        key_id, colon, encoded = entry.partition(":")
        if not colon or not _ID.fullmatch(key_id):
            raise SetupError(f"{source}: key number {number} has no id; {_HOW}")
        if key_id in keys:
            raise SetupError(
                f"{source}: the key id {key_id!r} is there twice; each key needs its own; {_HOW}"
            )
        try:
            # Both alphabets of RFC 4648 are taken; padding may be missing.
            standard = encoded.rstrip("=").replace("-", "+").replace("_", "/")
            key = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        except ValueError:
            raise SetupError(f"{source}: the key {key_id!r} is not base64; {_HOW}") from None
        if len(key) != KEY_BYTES:
            raise SetupError(f"{source}: the key {key_id!r} has {len(key)} bytes, not {KEY_BYTES}; {_HOW}")
        keys[key_id] = key
    if not keys:
        raise SetupError(f"{source} holds no key; {_HOW}")
    return Keyring(current=next(iter(keys)), keys=keys, source=source)


def load(settings: Settings, *, create: bool) -> Keyring:
    """Return the master keys of the settings, else those of the key file in the data directory.

    Args:
        settings: Where to look.
        create: Make the key file where there is neither; `up` does, `server run` does not.

    Raises:
        SetupError: There is no key, or a key or the file is not acceptable; the way out is named.
    """
    if settings.encryption_keys is not None:
        return parse(settings.encryption_keys.get_secret_value(), "NINELIVES_ENCRYPTION_KEYS")
    path = settings.private_dir / "keys"
    if path.exists():
        return _read(path)
    if not create:
        raise SetupError(
            "there is no encryption key: set NINELIVES_ENCRYPTION_KEYS, or NINELIVES_ENCRYPTION_KEYS_FILE to "
            f"a file with it, or put the key file of the server that made the database at {path}; {_HOW}"
        )
    _make(path)
    return _read(path)


def _read(path: Path) -> Keyring:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"the key file {path} cannot be read: {error}") from None
    if mode & 0o077:
        raise SetupError(
            f"the key file {path} has mode {mode:04o}: others on this machine may read it; chmod 600 {path}"
        )
    return parse(text, f"the key file {path}")


def _make(path: Path) -> None:
    """Write a first key, whole or not at all, readable by this user only."""
    line = f"k1:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}\n"
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link, not a rename: whoever came first keeps their key.
            os.link(fresh, path)
        except FileExistsError:
            return
        finally:
            fresh.unlink()
    except OSError as error:
        raise SetupError(f"the key file {path} cannot be made: {error.strerror}") from None
