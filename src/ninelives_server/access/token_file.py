"""The file that holds the admin token of this machine's server: mode 0600, written whole or not at all."""

import os
import secrets
from pathlib import Path

from ninelives_server.errors import SetupError


def read(path: Path) -> str | None:
    """Return the token in the file; `None` where there is none.

    Raises:
        SetupError: The file is there and cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"the admin token file {path} cannot be read: {error}") from None


def write(path: Path, token: str) -> None:
    """Put a token into the file, in the place of what is there.

    Raises:
        SetupError: The file cannot be written.
    """
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(token + "\n")
        fresh.replace(path)
    except OSError as error:
        raise SetupError(f"the admin token file {path} cannot be written: {error.strerror}") from None
