"""`ninelives explain`: for people, for programs, and what it says when it cannot."""

import json
import shlex
import subprocess
import sys

import pytest
from click.testing import CliRunner

from ninelives_server.cli.app import cli


def run(*args):
    return CliRunner().invoke(cli, ["explain", *map(str, args)])


def test_each_call_is_a_line_with_its_place(tmp_path):
    """Place, call, kind, reason."""
    (tmp_path / "main.py").write_text("import time\ndef main(event):\n    time.sleep(1)\n")

    done = run(tmp_path / "main.py")

    assert done.exit_code == 0
    assert done.output.split()[:3] == ["3:10", "time.sleep", "sleep"]


def test_programs_get_one_document(tmp_path):
    """`-o json` prints the calls with all that is known of them."""
    (tmp_path / "main.py").write_text("def main(event):\n    print(1)\n")

    call = json.loads(run(tmp_path / "main.py", "-o", "json").output)["calls"][0]

    assert (call["line"], call["call"], call["kind"]) == (2, "print", "direct")


def test_a_file_that_is_no_python_is_named_with_its_line(tmp_path):
    """The thing itself failed: exit code 1."""
    (tmp_path / "main.py").write_text("def main(:\n")

    done = run(tmp_path / "main.py")

    assert done.exit_code == 1
    assert "main.py:1: invalid syntax" in done.output


def test_an_interpreter_that_does_not_start_is_named(tmp_path):
    """With the option that chooses another one."""
    (tmp_path / "main.py").write_text("")

    done = run(tmp_path / "main.py", "--python", "/no/such/python")

    assert done.exit_code == 2
    assert "/no/such/python does not start" in done.output
    assert "--python" in done.output


def test_a_file_without_calls_says_so(tmp_path):
    """An empty answer is an answer."""
    (tmp_path / "main.py").write_text("x = 1\n")

    assert run(tmp_path / "main.py").output == "no calls\n"


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [(">&-", 0, ""), ("> /dev/full", 1, "could not be: No space left on device")],
)
def test_output_that_cannot_be_written_is_no_defect_of_ours(tmp_path, redirection, code, said):
    """Closed by a shell or a service manager, or on a full disk: a sentence, and no traceback."""
    (tmp_path / "main.py").write_text("def main(event):\n    print(1)\n")
    command = (
        f"{shlex.quote(sys.executable)} -m ninelives_server explain {tmp_path / 'main.py'} {redirection}"
    )

    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)

    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert bool(said) == bool(done.stderr)
