"""Sealing: AES-256-GCM (NIST SP 800-38D) under data keys that master keys wrap.

Each owner, a project or the server, has one data key. Rotation wraps the data keys anew and touches no sealed
value; destroying an owner's key destroys all that was sealed for it. A sealed value is bound to its owner and
its place (`table:row:column`): moved elsewhere it does not open.

A sealed value is `version (1) · salt (16) · nonce (12) · ciphertext and tag`. The key that encrypts it is
derived from data key and salt (one block of HKDF-Expand, RFC 5869, section 2.3), and a salt lives as long as
a process at most: so the 2^32 values that random nonces allow one key (SP 800-38D, section 8.3) are per
process, not per project.

What is not promised: hiding how long a value is, and noticing that a value was put back to an older one.
"""

import hmac
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ninelives_server.errors import SetupError
from ninelives_server.vault.keys import KEY_BYTES, Keyring

#: Owner of what belongs to no project.
SERVER = "server"

_VERSION = b"\x01"
_SALT = 16  # bytes
_NONCE = 12  # bytes; SP 800-38D, section 5.2.1.1
_TAG = 16  # bytes
_HEAD = len(_VERSION) + _SALT + _NONCE
#: How many bytes sealing adds.
OVERHEAD = _HEAD + _TAG
_SEALS_PER_SALT = 1 << 31
_CACHED = 4096  # owners, and salts


class Unit(Protocol):
    """The store's open transaction; passed through to the rows."""

    now: datetime


class KeyRows(Protocol):
    """Where wrapped data keys are kept (`store.data_keys`). `tx` is the store's own."""

    def find(self, tx: Any, owner: str) -> tuple[str, bytes] | None:
        """Return master id and wrapped key."""
        ...

    def insert(self, tx: Any, owner: str, master_id: str, wrapped: bytes) -> bool:
        """Insert where there is none; say whether it was inserted."""
        ...

    def replace(self, tx: Any, owner: str, master_id: str, wrapped: bytes) -> None:
        """Change master id and wrapped key."""
        ...

    def delete(self, tx: Any, owner: str) -> None:
        """Delete the row."""
        ...

    def everything(self, tx: Any) -> Sequence[tuple[str, str, bytes]]:
        """Return owner, master id and wrapped key of all rows."""
        ...

    def transaction(self, tx: Any) -> object:
        """Return an object that stands for the database transaction of `tx`."""
        ...


@dataclass(slots=True)
class _DataKey:
    key: bytes = field(repr=False)
    salt: bytes
    seal: AESGCM
    left: int  # values that this salt may still seal


class Vault:
    """Seals and opens values, and cares for their keys. Safe to use from several threads."""

    def __init__(self, keyring: Keyring, rows: KeyRows) -> None:
        self._ring = keyring
        self._masters = {key_id: AESGCM(key) for key_id, key in keyring.keys.items()}
        self._rows = rows
        self._keys: OrderedDict[str, _DataKey] = OrderedDict()
        self._salted: OrderedDict[tuple[str, bytes], AESGCM] = OrderedDict()
        # Keys made in a transaction that may still fail: they must not be remembered before it is over.
        self._fresh: dict[str, object] = {}

    def seal(self, tx: Unit, owner: str, context: str, plain: bytes) -> bytes:
        """Encrypt a value of `owner` for one place.

        Raises:
            SetupError: The owner has no data key, or its master key is missing.
        """
        data = self._data_key(tx, owner)
        data.left -= 1
        if data.left < 0:
            data = self._salt(data.key)
            if owner in self._keys:
                self._keys[owner] = data
        head = _VERSION + data.salt + os.urandom(_NONCE)
        return head + data.seal.encrypt(head[-_NONCE:], plain, _bound(head, owner, context))

    def open(self, tx: Unit, owner: str, context: str, sealed: bytes) -> bytes:
        """Decrypt what was sealed for the same owner and place.

        Raises:
            SetupError: It was changed, belongs elsewhere, or its key was destroyed or is missing.
        """
        if len(sealed) < OVERHEAD or sealed[:1] != _VERSION:
            raise SetupError(f"the value at {context} was not sealed by this version of the vault")
        head, body = sealed[:_HEAD], sealed[_HEAD:]
        salt = head[len(_VERSION) : len(_VERSION) + _SALT]
        try:
            return self._opener(tx, owner, salt).decrypt(head[-_NONCE:], body, _bound(head, owner, context))
        except InvalidTag:
            raise SetupError(
                f"the sealed value at {context} does not open: it was changed, or belongs to another row"
            ) from None

    def create_key(self, tx: Unit, owner: str) -> None:
        """Make a data key for an owner that has none."""
        data_key = os.urandom(KEY_BYTES)
        if self._rows.insert(tx, owner, self._ring.current, self._wrap(owner, data_key)):
            self._fresh[owner] = self._rows.transaction(tx)

    def destroy_key(self, tx: Unit, owner: str) -> None:
        """Delete an owner's data key; nothing that was sealed for it can be opened again."""
        self._rows.delete(tx, owner)
        self._forget(owner)

    def start(self, tx: Unit) -> None:
        """Check that the keys fit this database, and make the server's own data key in a new one.

        Raises:
            SetupError: As `fits`.
        """
        self.fits(tx)
        self.create_key(tx, SERVER)

    def fits(self, tx: Unit) -> None:
        """Prove that every data key of the database can be unwrapped.

        Raises:
            SetupError: A master key is missing or another one; the message names its id and the way out.
        """
        for owner, master_id, wrapped in self._rows.everything(tx):
            self._unwrap(owner, master_id, wrapped)

    def rotate(self, tx: Unit) -> int:
        """Wrap all data keys with the current master key; no sealed value changes.

        Returns:
            How many were wrapped with another key before.

        Raises:
            SetupError: One cannot be unwrapped; nothing is changed then.
        """
        count = 0
        for owner, master_id, wrapped in self._rows.everything(tx):
            data_key = self._unwrap(owner, master_id, wrapped)
            if master_id != self._ring.current:
                self._rows.replace(tx, owner, self._ring.current, self._wrap(owner, data_key))
                count += 1
        return count

    def _wrap(self, owner: str, data_key: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        context = f"ninelives data key\0{self._ring.current}\0{owner}".encode()
        return nonce + self._masters[self._ring.current].encrypt(nonce, data_key, context)

    def _unwrap(self, owner: str, master_id: str, wrapped: bytes) -> bytes:
        master = self._masters.get(master_id)
        source = self._ring.source
        if master is None:
            raise SetupError(
                f"this database is sealed with the encryption key {master_id!r}, which is not in {source}; "
                "put that key back, behind the newest one if it was replaced"
            )
        context = f"ninelives data key\0{master_id}\0{owner}".encode()
        try:
            return master.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], context)
        except InvalidTag:
            raise SetupError(
                f"the encryption key {master_id!r} in {source} is not the one that sealed this database; "
                "put the right one back, or use the data directory that belongs to it"
            ) from None

    def _data_key(self, tx: Unit, owner: str) -> _DataKey:
        known = self._keys.get(owner)
        if known is not None:
            return known
        row = self._rows.find(tx, owner)
        if row is None:
            raise SetupError(f"there is no data key of {owner}: it was destroyed, or never made")
        data = self._salt(self._unwrap(owner, *row))
        made_in = self._fresh.get(owner)
        if made_in is None or made_in is not self._rows.transaction(tx):
            # The row was written by a transaction that is over, so it is there to stay.
            self._fresh.pop(owner, None)
            self._keys[owner] = data
            if len(self._keys) > _CACHED:
                self._keys.popitem(last=False)
        return data

    def _opener(self, tx: Unit, owner: str, salt: bytes) -> AESGCM:
        cipher = self._salted.get((owner, salt))
        if cipher is None:
            cipher = _derive(self._data_key(tx, owner).key, salt)
            if owner in self._keys:
                self._salted[owner, salt] = cipher
                if len(self._salted) > _CACHED:
                    self._salted.popitem(last=False)
        return cipher

    def _forget(self, owner: str) -> None:
        self._fresh.pop(owner, None)
        self._keys.pop(owner, None)
        for key in [key for key in list(self._salted) if key[0] == owner]:
            self._salted.pop(key, None)

    @staticmethod
    def _salt(data_key: bytes) -> _DataKey:
        salt = os.urandom(_SALT)
        return _DataKey(data_key, salt, _derive(data_key, salt), _SEALS_PER_SALT)


def _derive(data_key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(hmac.digest(data_key, b"ninelives value" + salt + b"\x01", "sha256"))


def _bound(head: bytes, owner: str, context: str) -> bytes:
    """Return the associated data: all that must be the same when the value is opened."""
    return head + f"{owner}\0{context}".encode()
