"""Search for secrets in any form that they may take on their way: raw, base64, hex, percent, JSON."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote


def forms(secret: str) -> dict[str, bytes]:
    """Return the bytes under which a secret could stand somewhere."""
    raw = secret.encode()
    found = {
        "raw": raw,
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "percent": quote(secret, safe="").encode(),
        "percent lower": _lower(quote(secret, safe="")).encode(),
        "percent all": b"".join(b"%%%02X" % byte for byte in raw),
        "percent all lower": b"".join(b"%%%02x" % byte for byte in raw),
        "json": json.dumps(secret)[1:-1].encode(),
        "json escaped": json.dumps("".join(f"\\u{ord(c):04x}" for c in secret))[1:-1]
        .replace("\\\\", "\\")
        .encode(),
        "utf-16": secret.encode("utf-16-le"),
    }
    for shift in range(3):
        # In base64 a text looks different at each of three offsets; its ends depend on what stands beside it.
        padded = base64.b64encode(b"\0" * shift + raw)
        inner = padded[4 if shift else 0 : -4].rstrip(b"=")
        found[f"base64 at {shift}"] = inner
        found[f"base64url at {shift}"] = inner.replace(b"+", b"-").replace(b"/", b"_")
    return found


def _lower(quoted: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)


def search(secrets: dict[str, str], places: Iterable[tuple[str, bytes]]) -> list[str]:
    """Name each place in which a secret stands, and its form."""
    patterns = [
        (f"{name} ({form})", text) for name, value in secrets.items() for form, text in forms(value).items()
    ]
    anything = re.compile(b"|".join(re.escape(text) for _, text in patterns))
    return [
        f"{label} in {place}"
        for place, content in places
        if anything.search(content)
        for label, text in patterns
        if text in content
    ]


def files(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file below a directory, what SQLite has not yet merged included."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield str(path), path.read_bytes()


def memory(pid: int) -> Iterator[tuple[str, bytes]]:
    """Yield a process's environment, arguments and all memory that it can read."""
    for name in ("environ", "cmdline"):
        yield f"{name} of {pid}", Path(f"/proc/{pid}/{name}").read_bytes()
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as mem:
        for line in maps:
            bounds, rights, *_rest = line.split()
            if not rights.startswith("r") or line.rstrip().endswith(
                ("[vvar]", "[vsyscall]", "[vvar_vclock]")
            ):
                continue
            begin, end = (int(part, 16) for part in bounds.split("-"))
            try:
                mem.seek(begin)
                yield f"memory {bounds} of {pid}", mem.read(end - begin)
            except OSError:
                continue
