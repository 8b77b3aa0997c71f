"""
Master keys: read from settings or a file, made by `up` and by nobody else.
"""

import base64
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from ninelives_server.errors import SetupError
from ninelives_server.settings import Settings
from ninelives_server.vault import keys

KEY = base64.b64encode(bytes(range(224, 256))).decode()


def some_settings(tmp_path: Path, text: str | None = None) -> Settings:
    return Settings(data_dir=tmp_path, encryption_keys=None if text is None else SecretStr(text))


def test_the_first_key_of_the_settings_is_current(tmp_path: Path):
    """
    The newest key stands first; the others stay to unwrap.
    """
    ring = keys.load(some_settings(tmp_path, f"new:{KEY},old:{KEY}"), create=False)

    assert ring.current == "new"
    assert set(ring.keys) == {"new", "old"}


@pytest.mark.parametrize(
    "form", [KEY, KEY.rstrip("="), base64.urlsafe_b64encode(bytes(range(224, 256))).decode()]
)
def test_both_base64_alphabets_are_taken(form: str):
    """
    What `openssl` and what Python prints are both right.
    """
    assert keys.parse(f"a:{form}", "here").keys["a"] == bytes(range(224, 256))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "here holds no key"),
        (KEY, "key number 1 has no id"),
        (f"a:{KEY},a:{KEY}", "'a' is there twice"),
        ("a:???", "'a' is not base64"),
        ("a:c2hvcnQ=", "'a' has 5 bytes, not 32"),
    ],
)
def test_a_malformed_key_is_refused_without_being_shown(text: str, message: str):
    """
    The message names the id and the right form, never the key.
    """
    with pytest.raises(SetupError, match=message) as caught:
        keys.parse(text, "here")

    assert KEY not in str(caught.value)
    assert "openssl rand -base64 32" in str(caught.value)


def test_up_makes_a_key_file_that_only_its_owner_may_read(tmp_path: Path):
    """
    Embedded: a file of mode 0600 in a directory of mode 0700, made once.
    """
    first = keys.load(some_settings(tmp_path), create=True)
    again = keys.load(some_settings(tmp_path), create=True)

    path = tmp_path / "private" / "keys"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert first.keys == again.keys
    assert [entry.name for entry in path.parent.iterdir()] == ["keys"]


def test_a_server_without_a_key_names_the_ways_out(tmp_path: Path):
    """
    Production never makes a key by itself: a lost one would be replaced silently.
    """
    with pytest.raises(SetupError, match=r"NINELIVES_ENCRYPTION_KEYS.*_FILE.*openssl rand -base64 32"):
        keys.load(some_settings(tmp_path), create=False)

    assert not (tmp_path / "private").exists()


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path):
    """
    The message says how to put it right.
    """
    keys.load(some_settings(tmp_path), create=True)
    path = tmp_path / "private" / "keys"
    path.chmod(0o640)

    with pytest.raises(SetupError, match=f"mode 0640.*chmod 600 {path}"):
        keys.load(some_settings(tmp_path), create=False)


def test_settings_win_over_the_file(tmp_path: Path):
    """
    A key that was set is the one that is used.
    """
    keys.load(some_settings(tmp_path), create=True)

    assert keys.load(some_settings(tmp_path, f"mine:{KEY}"), create=True).current == "mine"
