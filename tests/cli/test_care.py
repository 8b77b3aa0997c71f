"""
`server backup` and `server restore` as a person types them.
"""

import stat
from pathlib import Path

import pytest
from api_site import Site, Things
from terminal import Terminal

pytestmark = [pytest.mark.system]


def test_a_server_is_backed_up_while_it_runs(site: Site, things: Things, ninelives: Terminal, tmp_path: Path):
    """
    Its key is part of it unless it is left out; the file is for its owner only; a full target is refused.
    """
    file, bare, fresh = tmp_path / "b.gz", tmp_path / "bare.gz", tmp_path / "new"
    there = str(site.up.data_dir)

    ninelives("server", "backup", str(file), "--data-dir", there)
    said = ninelives("server", "backup", str(bare), "--data-dir", there, "--without-key")
    ninelives("server", "restore", str(file), "--data-dir", str(fresh))
    ninelives("server", "restore", str(bare), "--data-dir", str(tmp_path / "bare"))
    full = ninelives("server", "restore", str(file), "--data-dir", str(fresh), code=1)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (fresh / "private/keys").read_text() == (site.up.data_dir / "private/keys").read_text()
    assert not (tmp_path / "bare/private/keys").exists()
    assert "nothing sealed can be read without them" in said.err
    assert "not empty" in full.err


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
