"""The one place that reads the environment: `NINELIVES_…`, nested with `__`, `*_FILE` variants.

A value in a file (`NINELIVES_ENCRYPTION_KEYS_FILE=/run/secrets/keys`) is read and stripped; setting both
forms is an error. Flags of the command line win over the environment.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ninelives_server.errors import SetupError

PREFIX = "NINELIVES_"
_DATABASES = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})


def default_data_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return `$XDG_DATA_HOME/ninelives`, by default `~/.local/share/ninelives`."""
    env = os.environ if environ is None else environ
    base = env.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "ninelives"


def normalise_address(value: str) -> str:
    """Return a public address without a trailing slash; a bare host means https.

    Raises:
        ValueError: It is not an http(s) address, or has user info, a query or a fragment.
    """
    text = value.strip()
    if "://" not in text:
        text = f"https://{text}"
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{value!r} is not an http or https address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"{value!r} must not have user info, a query or a fragment")
    return urlunsplit((parts.scheme, parts.netloc.lower(), parts.path.rstrip("/"), "", ""))


def announced(data_dir: Path) -> Mapping[str, str]:
    """Return what the server of this data directory has written down of itself: `url`, `base_url`, `pid`.

    Empty where none runs; a server that was killed has left what it wrote.
    """
    try:
        found = json.loads((data_dir / "server.json").read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def address_of(data_dir: Path) -> str | None:
    """Return the address that the running server of this data directory has written down, if any."""
    return announced(data_dir).get("url")


class WorkerSettings(BaseModel):
    """`NINELIVES_WORKER__…`.

    Attributes:
        slots: Sessions that one worker runs at once; 0 means free memory / 64 MB, at most 200.
        require_isolation: Refuse to run sessions where project code could read the server's keys.
    """

    slots: int = Field(default=0, ge=0, le=10_000)
    require_isolation: bool = False


class WebhookSettings(BaseModel):
    """`NINELIVES_WEBHOOKS__…`.

    Attributes:
        body_limit: The largest body that a webhook takes. bytes
    """

    body_limit: int = Field(default=512 * 1024, ge=1024, le=64 * 1024 * 1024)


class LimitSettings(BaseModel):
    """`NINELIVES_LIMITS__…`: what a session may use where its project says nothing; 0 does not limit it.

    Attributes:
        memory_mb: Of each of its processes beyond what it starts with, and of all of them together.
        cpu_seconds: CPU time of all its processes since it was last started.
        wall_seconds: From its first start to its end, waits included.
        processes: Processes and threads at once.
        output_mb: What it prints; the rest is counted.
        locked: Projects may ask for less than this, not for more.
    """

    memory_mb: int = Field(default=1024, ge=0)
    cpu_seconds: int = Field(default=3600, ge=0)
    wall_seconds: int = Field(default=0, ge=0)
    open_files: int = Field(default=4096, ge=0)
    processes: int = Field(default=256, ge=0)
    output_mb: int = Field(default=10, ge=0)
    locked: bool = False


class JournalSettings(BaseModel):
    """`NINELIVES_JOURNAL__…`: what a session's journal may hold before the session ends; 0 is no limit.

    Attributes:
        records: Steps, waits, values and logs together.
        size_mb: Their values and previews, as they are stored.
    """

    records: int = Field(default=100_000, ge=0)
    size_mb: int = Field(default=1024, ge=0)


class RetentionSettings(BaseModel):
    """`NINELIVES_RETENTION__…`: days that things are kept where a project says nothing; 0 is for ever."""

    events: int = Field(default=30, ge=0)
    sessions: int = Field(default=30, ge=0)
    logs: int = Field(default=30, ge=0)
    audit: int = Field(default=365, ge=0)


class Settings(BaseSettings):
    """All settings of a server; see docs/reference/settings.md."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="ignore", hide_input_in_errors=True
    )

    data_dir: Path = Field(default_factory=default_data_dir)
    host: str = "127.0.0.1"
    port: int = Field(default=9980, ge=0, le=65535)
    public_url: str | None = None
    web_url: str | None = None
    database_url: SecretStr | None = None
    temporal_address: str | None = None
    temporal_namespace: str = "default"
    encryption_keys: SecretStr | None = None
    server_url: str | None = None
    token: SecretStr | None = None
    ca_file: Path | None = None
    allow_insecure_providers: bool = False
    insecure_hosts: str = "127.0.0.1,localhost"
    worker: WorkerSettings = WorkerSettings()
    webhooks: WebhookSettings = WebhookSettings()
    limits: LimitSettings = LimitSettings()
    journal: JournalSettings = JournalSettings()
    retention: RetentionSettings = RetentionSettings()
    log_level: str = "info"
    log_format: Literal["console", "json"] = "console"

    @field_validator("public_url", "web_url", "server_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return None if value is None or not value.strip() else normalise_address(value)

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value().strip():
            return None
        scheme = value.get_secret_value().partition("://")[0]
        if scheme not in _DATABASES:
            # The rest may hold a password; and a text without a scheme may be one.
            raise ValueError(
                "it must be postgresql://USER:PASSWORD@HOST:PORT/NAME; without it SQLite is used"
            )
        return value

    @field_validator("temporal_address")
    @classmethod
    def _temporal(cls, value: str | None) -> str | None:
        if value is None or not value.strip():
            return None
        host, colon, port = value.strip().rpartition(":")
        if not (colon and host and port.isdigit() and 0 < int(port) < 65536) or "/" in host:
            raise ValueError(f"{value!r} is not HOST:PORT, such as temporal.example.com:7233")
        return value.strip()

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        # Processes that use it have other working directories.
        return value.expanduser().absolute()

    @property
    def private_dir(self) -> Path:
        """Directory of the database, keys, admin token and Temporal's file (mode 0700)."""
        return self.data_dir / "private"

    @property
    def base_url(self) -> str:
        """Address of everything that leaves the server: the public one, else localhost with the port."""
        return self.public_url or f"http://localhost:{self.port}"

    @property
    def pages_url(self) -> str:
        """Address of the pages, where it differs from that of the callbacks."""
        return self.web_url or self.base_url

    @property
    def insecure_host_names(self) -> frozenset[str]:
        """Hosts for which `allow_insecure_providers` lifts the https and loopback checks."""
        return frozenset(h.strip().lower() for h in self.insecure_hosts.split(",") if h.strip())


def _from_files(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of `NINELIVES_X_FILE` as those of `NINELIVES_X`."""
    found = {}
    for name, path in environ.items():
        if not (name.startswith(PREFIX) and name.endswith("_FILE")) or name == f"{PREFIX}CA_FILE":
            continue
        plain = name.removesuffix("_FILE")
        if plain in environ:
            raise SetupError(f"both {plain} and {name} are set; keep one")
        try:
            found[plain] = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SetupError(f"{name} names {path!r}, which cannot be read: {error.strerror}") from None
    return found


def load(**flags: object) -> Settings:
    """Read the environment; `flags` that are not `None` win.

    Raises:
        SetupError: A value is not acceptable; the message names the variable, not a secret.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    for name, value in _from_files(os.environ).items():
        key = name.removeprefix(PREFIX).lower()
        if "__" in key:
            group, _, field = key.partition("__")
            nested = given.setdefault(group, {})
            if isinstance(nested, dict):
                nested.setdefault(field, value)
        else:
            given.setdefault(key, value)
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
        raise SetupError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None
