"""
`server backup` and `server restore` as a person types them.
"""

import base64
import gzip
import re
import stat
from pathlib import Path

import pytest
from api_site import Site, Things
from terminal import Terminal

pytestmark = [pytest.mark.system]


def test_a_server_is_backed_up_while_it_runs(site: Site, things: Things, ninelives: Terminal, tmp_path: Path):
    """
    With its key only where that is asked for; the file is for its owner only; a full target is refused.
    """
    file, fresh = tmp_path / "b.gz", tmp_path / "new"
    there = str(site.up.data_dir)

    said = ninelives("server", "backup", str(file), "--data-dir", there, "--with-key")
    ninelives("server", "restore", str(file), "--data-dir", str(fresh))
    full = ninelives("server", "restore", str(file), "--data-dir", str(fresh), code=1)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (fresh / "private/keys").read_text() == (site.up.data_dir / "private/keys").read_text()
    assert "are not in it" not in said.err
    assert "not empty" in full.err


def test_a_backup_is_restored_only_where_its_keys_are(
    site: Site, things: Things, ninelives: Terminal, tmp_path: Path
):
    """
    They are not in it and it says where they are. Without them, or with others, nothing is restored.
    """
    file, fresh = tmp_path / "b.gz", tmp_path / "new"
    key = (site.up.data_dir / "private/keys").read_text()

    said = ninelives("server", "backup", str(file), "--data-dir", str(site.up.data_dir))
    inside = gzip.decompress(file.read_bytes()).decode()
    none = ninelives("server", "restore", str(file), "--data-dir", str(fresh), code=1)
    (fresh / "private/keys").write_text(f"k9:{base64.b64encode(bytes(32)).decode()}\n")
    (fresh / "private/keys").chmod(0o600)
    other = ninelives("server", "restore", str(file), "--data-dir", str(fresh), code=1)
    (fresh / "private/keys").write_text(key)
    done = ninelives("server", "restore", str(file), "--data-dir", str(fresh), "-o", "json")
    rotated = ninelives("server", "rotate-key", "--data-dir", str(fresh), "-o", "json")
    again = ninelives("server", "rotate-key", "--data-dir", str(fresh))
    newer = f"k9:{base64.b64encode(bytes(32)).decode()}"
    (fresh / "private/keys").write_text(f"{newer}\n{key}")
    counted = ninelives("server", "rotate-key", "--data-dir", str(fresh))

    assert done.document["rows"] > 0
    assert rotated.document == {"wrapped": 0}
    assert again.out.startswith("nothing to do: the newest master key wraps every data key already")
    assert re.fullmatch(
        r"(1 data key was|\d+ data keys were) wrapped with an older master key and now (is|are) with the newest\n",
        counted.out,
    )
    assert str(site.up.data_dir / "private/keys") in said.err
    assert key.partition(":")[2].strip() not in inside
    for refused in (none, other):
        assert f"encryption key {key.partition(':')[0]!r}, which is not in" in refused.err
    assert "NINELIVES_ENCRYPTION_KEYS" in none.err


def test_what_is_no_backup_is_refused(ninelives: Terminal, tmp_path: Path):
    """
    A file that is not there is a mistake in the command, one that is something else has failed.
    """
    (tmp_path / "x").write_text("hello")

    assert (
        "no backup"
        in ninelives("server", "restore", str(tmp_path / "x"), "--data-dir", str(tmp_path), code=1).err
    )
    ninelives("server", "restore", str(tmp_path / "none"), "--data-dir", str(tmp_path / "d"), code=2)


def test_a_relative_data_directory_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """
    Zygotes start in `/` and would look for it there.
    """
    from ninelives_server import settings

    monkeypatch.chdir(tmp_path)

    assert settings.load(data_dir=Path("here")).data_dir == tmp_path / "here"


def test_an_upgrade_that_cuts_sessions_off_names_them(
    site: Site, ninelives: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """
    Only durable ones that have not ended, and only those whose semantics this release does not carry.
    """
    from ninelives_server.cli import up

    things, data = site.things(), tmp_path / "new"
    start = {"entrypoint": "main.py:on_open", "is_durable": True}
    ours, ended = (
        site.good(site.ask("POST", f"/projects/{things.project}/sessions", json=start))["id"] for _ in "ab"
    )
    site.good(site.ask("POST", f"/sessions/{ended}/stop", json={"kill": True}))
    there = str(site.up.data_dir)
    ninelives("server", "backup", str(tmp_path / "b.gz"), "--data-dir", there, "--with-key")
    ninelives("server", "restore", str(tmp_path / "b.gz"), "--data-dir", str(data))
    migrate = ("server", "migrate", "--data-dir", str(data))

    carried = ninelives(*migrate)
    monkeypatch.setattr(up, "CARRIED", frozenset({2}))
    refused = ninelives(*migrate, code=1)
    forced = ninelives(*migrate, "--force")

    assert carried.err == ""
    assert f"{ours}  {things.project_name}  created" in refused.err
    assert ended not in refused.err
    assert "--force" in refused.err
    assert forced.out == carried.out
