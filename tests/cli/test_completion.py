"""Completion in shells: a real bash completes with what the command prints."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("ninelives")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("ninelives ses", ["session"]),
        ("ninelives session log", ["logs"]),
        ("ninelives session logs --fol", ["--follow"]),
        ("ninelives session list --state wai", ["waiting"]),
        ("ninelives nothing-like-it", []),
    ],
)
def test_bash_completes_commands_options_and_choices(words: str, wanted: list[str]):
    """
    As in a terminal: the script is evaluated, and the function that it defines is asked.
    """
    script = f"""
        export PATH="{PROGRAM.parent}:$PATH"
        eval "$(ninelives completion bash)"
        COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _ninelives_completion ninelives
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=120, check=True
    )

    assert done.stderr == ""
    assert done.stdout.split() == wanted


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_each_shell_gets_a_script_that_asks_the_program(shell: str):
    """
    Where the shell is there, it reads the script without complaint.
    """
    done = subprocess.run(
        [PROGRAM, "completion", shell], capture_output=True, text=True, check=True, timeout=120
    )

    assert f"_NINELIVES_COMPLETE={shell}_complete" in done.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.stdout, text=True, check=True, timeout=60)
