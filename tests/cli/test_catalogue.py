"""`integrations check` and `integrations new`: no server is needed for either."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from ninelives_server.cli.app import cli


def run(*arguments: str):
    return CliRunner().invoke(cli, ["integrations", *arguments])


def test_every_integration_of_this_release_is_well():
    """
    Those that are data and those that are code.
    """
    done = run("check")

    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.endswith(" checked, 0 problems\n")
    assert run("check", "salesforce").stderr == "1 checked, 0 problems\n"


def test_what_is_made_is_well_and_never_overwritten(tmp_path: Path):
    """
    The scaffold passes the check; a second one of its name, and one of the release's, are refused.
    """
    file = tmp_path / "sub" / "acme.toml"

    made = run("new", "acme", "--directory", str(file.parent))
    file.write_text(file.read_text().replace("Acme", "ACME"))

    assert (made.exit_code, made.stdout) == (0, f"{file}\n")
    assert run("check", str(file)).exit_code == 0
    again = run("new", "acme", "--directory", str(file.parent))
    assert (again.exit_code, "already" in again.stderr) == (2, True)
    assert "ACME" in file.read_text()
    assert run("new", "salesforce", "--directory", str(tmp_path)).exit_code == 2
    assert run("new", "No-name", "--directory", str(tmp_path)).exit_code == 2


@pytest.mark.parametrize(
    ("old", "now", "said"),
    [
        ('name = "acme"', 'name = "other"', "not the file's"),
        ('docs = "https://example.com/docs/auth"', "", "lacks the key 'docs'"),
        ("https://example.com/docs/auth", "somewhere", "its docs_url is no address"),
        ('label = "API key"', "", "label"),
        ('label = "API key"', 'label = "API key"\nlabl = "x"', "unknown keys: labl"),
        ("[[modes]]", "[[modes", "acme.toml: "),
        ("[[modes]]", "[modes]", "acme.toml: "),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(tmp_path: Path, old: str, now: str, said: str):
    """
    And the command ends with 1.
    """
    file = tmp_path / "acme.toml"
    run("new", "acme", "--directory", str(tmp_path))
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, now, 1))

    done = run("check", str(file))

    assert done.exit_code == 1
    assert done.stdout.startswith("acme.toml")
    assert said in done.stdout


def test_what_is_not_there_is_3():
    """
    With those that there are.
    """
    done = run("check", "nothing")

    assert (done.exit_code, "salesforce" in done.stderr) == (3, True)
