"""`ninelives doctor` and what `up` greets with: where Temporal is, and who can reach it."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from ninelives_server import settings as settings_module
from ninelives_server.cli import up
from ninelives_server.cli.app import cli
from ninelives_server.engine import embedded


def found(data_dir: Path) -> dict[str, str]:
    """Return what the doctor says of Temporal."""
    done = CliRunner().invoke(cli, ["doctor", "--data-dir", str(data_dir), "-o", "json"])
    checks = {check["name"]: check for check in json.loads(done.stdout)["items"]}
    return checks["temporal"]


@pytest.mark.parametrize(("allows", "status"), [(True, "ok"), (False, "warning")])
def test_the_doctor_says_who_can_reach_temporal(tmp_path, monkeypatch, allows, status):
    """
    The kernel's answer is played; `tests/engine` asks the real one.
    """

    async def can_enclose() -> bool:
        return allows

    monkeypatch.setattr(embedded, "can_enclose", can_enclose)
    check = found(tmp_path)

    assert check["status"] == status
    assert ("--temporal-address" in check["message"]) is not allows


def test_the_doctor_does_not_try_what_will_not_be_used(tmp_path, monkeypatch):
    """
    A Temporal of one's own is elsewhere.
    """
    monkeypatch.setenv("NINELIVES_TEMPORAL_ADDRESS", "temporal.example.com:7233")

    assert found(tmp_path)["message"] == "your own, at temporal.example.com:7233"


@pytest.mark.parametrize("is_enclosed", [True, False])
def test_up_warns_where_temporal_can_be_reached_beside_its_door(tmp_path, monkeypatch, capsys, is_enclosed):
    """
    In the greeting, with the way out.
    """

    async def yes() -> bool:
        return True

    monkeypatch.setattr(up, "_warnings", lambda *_: asyncio.sleep(0, []))
    running = SimpleNamespace(services=SimpleNamespace(access=SimpleNamespace(has_logged_in=yes)))
    temporal = SimpleNamespace(is_enclosed=is_enclosed)

    asyncio.run(up._greet(settings_module.load(data_dir=tmp_path), running, temporal))

    assert (embedded.OPEN_WARNING in capsys.readouterr().err) is not is_enclosed
