"""Projects see a copy of the SDK, and nothing that lies beside it."""

import os
from pathlib import Path

from ninelives_server.worker import sdk


def _package(directory: Path, text: str) -> Path:
    package = directory / "ninelives"
    (package / "run").mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(text)
    (package / "run" / "__init__.py").write_text("")
    (directory / "ninelives_server").mkdir(exist_ok=True)
    return package


def test_only_the_package_itself_is_copied(tmp_path: Path) -> None:
    """The server's package lies beside it in site-packages."""
    place = sdk.install(tmp_path / "sdk", _package(tmp_path / "site", "X = 1"))

    assert [path.name for path in place.iterdir()] == ["ninelives"]
    assert (place / "ninelives" / "run" / "__init__.py").exists()


def test_a_changed_package_gets_a_place_of_its_own(tmp_path: Path) -> None:
    """Sessions that run keep what they started with; an upgrade or an edit is never missed."""
    first = sdk.install(tmp_path / "sdk", _package(tmp_path / "site", "X = 1"))
    same = sdk.install(tmp_path / "sdk", _package(tmp_path / "site", "X = 1"))
    second = sdk.install(tmp_path / "sdk", _package(tmp_path / "site", "X = 2"))

    assert first == same != second
    assert (first / "ninelives" / "__init__.py").read_text() == "X = 1"


def test_others_may_read_it_whatever_our_umask(tmp_path: Path) -> None:
    """Sessions may run as another user."""
    before = os.umask(0o077)
    try:
        place = sdk.install(tmp_path / "sdk", _package(tmp_path / "site", "X = 1"))
    finally:
        os.umask(before)

    assert all(path.stat().st_mode & 0o004 for path in place.rglob("*"))
    assert list(place.rglob("*.pyc"))
