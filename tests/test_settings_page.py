"""
docs/reference/settings.md names every setting with its default, and no other.
"""

import re
from pathlib import Path

from pydantic import BaseModel

from ninelives_server.settings import Settings

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")


def names_of(model: type[BaseModel], prefix: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= names_of(field.annotation, f"{prefix}{name.upper()}__")
        else:
            found[prefix + name.upper()] = field.default
    return found


def test_every_setting_is_documented():
    """
    With a row of its own; a setting that is gone has none.
    """
    rows = dict(re.findall(r"^\| `(NINELIVES_\w+)` \| (.*?) \|", PAGE, re.MULTILINE))

    assert rows.keys() == names_of(Settings, "NINELIVES_").keys()


def test_defaults_are_those_of_the_code():
    """
    Where the default is a plain value.
    """
    rows = dict(re.findall(r"^\| `(NINELIVES_\w+)` \| `([^`]*)` \|", PAGE, re.MULTILINE))
    defaults = names_of(Settings, "NINELIVES_")

    for name in (
        "HOST",
        "PORT",
        "TEMPORAL_NAMESPACE",
        "INSECURE_HOSTS",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "WORKER__SLOTS",
    ):
        assert rows[f"NINELIVES_{name}"] == str(defaults[f"NINELIVES_{name}"])
    for name in ("MEMORY_MB", "CPU_SECONDS", "WALL_SECONDS", "OPEN_FILES", "PROCESSES", "OUTPUT_MB"):
        assert rows[f"NINELIVES_LIMITS__{name}"] == str(defaults[f"NINELIVES_LIMITS__{name}"])
    for name in ("RECORDS", "SIZE_MB"):
        assert rows[f"NINELIVES_JOURNAL__{name}"] == str(defaults[f"NINELIVES_JOURNAL__{name}"])
    for name in ("EVENTS", "SESSIONS", "LOGS", "AUDIT"):
        assert rows[f"NINELIVES_RETENTION__{name}"] == str(defaults[f"NINELIVES_RETENTION__{name}"])
