"""Chance, computed from the session's seed: nothing to store, and the same again when the code runs again.

Each strand has generators of its own, so that what one strand draws does not depend on the others. Generators
that libraries use inside steps are left alone.
"""

import hashlib
import random
import secrets
import uuid
from collections.abc import Callable
from typing import Any

from ninelives.host import Function
from ninelives.run.core import Core
from ninelives.run.scope import Scope, Strand

_DEFAULT_BYTES = 32  # secrets.DEFAULT_ENTROPY


class _Stream(random.Random):
    """A generator for what must not be guessed: SHA-256 over seed and a counter."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._count = 0
        super().__init__(0)

    def seed(self, *_args: Any, **_kwargs: Any) -> None:
        """Do nothing, as `SystemRandom` does."""

    def randbytes(self, n: int) -> bytes:
        """Return the next n bytes."""
        parts = []
        for _ in range(0, n, 32):
            parts.append(hashlib.sha256(self._key + self._count.to_bytes(8, "big")).digest())
            self._count += 1
        return b"".join(parts)[:n]

    def getrandbits(self, k: int, /) -> int:
        """Return an integer with k random bits."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        size = (k + 7) // 8
        return int.from_bytes(self.randbytes(size), "big") >> (size * 8 - k)

    def random(self) -> float:
        """Return the next number in [0.0, 1.0)."""
        return (int.from_bytes(self.randbytes(7), "big") >> 3) * 2.0**-53


class _Generators:
    """What one strand draws from."""

    def __init__(self, seed: bytes, strand: Strand) -> None:
        key = hashlib.sha256(seed + strand.name.encode()).digest()
        self.plain = random.Random(int.from_bytes(key, "big"))  # noqa: S311 - what user code asked for
        self.system = _Stream(key)


class Chance:
    """Replaces random functions by those of the strand that calls them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._named: dict[str, Callable[[_Generators], Function]] = {
            "os.urandom": lambda g: g.system.randbytes,
            "os.getrandom": lambda g: lambda size, _flags=0: g.system.randbytes(size),
            "random.Random": lambda g: lambda seed=None: random.Random(_or_drawn(g, seed)),  # noqa: S311
            "secrets.choice": lambda g: g.system.choice,
            "secrets.randbelow": lambda g: lambda top: _below(g, top),
            "secrets.randbits": lambda g: g.system.getrandbits,
            "secrets.token_bytes": lambda g: lambda size=None: g.system.randbytes(_size(size)),
            "secrets.token_hex": lambda g: lambda size=None: g.system.randbytes(_size(size)).hex(),
            "secrets.token_urlsafe": lambda g: lambda size=None: _urlsafe(g, size),
            "uuid.uuid4": lambda g: lambda: uuid.UUID(bytes=g.system.randbytes(16), version=4),
        }

    def instead_of(self, fn: Any, name: str, scope: Scope) -> Any:
        """Return what to call instead of a random function."""
        generators = scope.strand.chance
        if generators is None:
            generators = scope.strand.chance = _Generators(self._core.seed, scope.strand)
        found = self._named.get(name)
        if found is not None:
            return found(generators)
        receiver = getattr(fn, "__self__", None)
        if isinstance(receiver, random.SystemRandom):
            return getattr(generators.system, fn.__name__)
        if receiver is random._inst:
            return getattr(generators.plain, fn.__name__)
        return fn


def _or_drawn(generators: _Generators, seed: Any) -> Any:
    return generators.system.getrandbits(256) if seed is None else seed


def _size(size: int | None) -> int:
    return _DEFAULT_BYTES if size is None else size


def _below(generators: _Generators, top: int) -> int:
    if top <= 0:
        raise ValueError("Upper bound must be positive.")
    return generators.system.randrange(top)


def _urlsafe(generators: _Generators, size: int | None) -> str:
    import base64

    drawn = generators.system.randbytes(_size(size))
    return base64.urlsafe_b64encode(drawn).rstrip(b"=").decode("ascii")


assert secrets.DEFAULT_ENTROPY == _DEFAULT_BYTES
