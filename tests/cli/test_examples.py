"""
The examples in the commands' help: there is one for each, and each is a command.
"""

import shlex
from pathlib import Path

import pytest

from ninelives_server.cli import examples
from ninelives_server.cli.app import cli

COMMANDS = dict(examples.commands(cli))


def test_every_command_has_an_example():
    """
    In the table, or in its own text.
    """
    without = {words for words, command in COMMANDS.items() if "Example" not in (command.help or "")}

    assert without - set(examples.EXAMPLES) == set()
    assert set(examples.EXAMPLES) <= set(COMMANDS)


@pytest.mark.parametrize("words", examples.EXAMPLES)
def test_an_example_is_a_command(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """
    Its options and arguments are those that the command has; its help shows it.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "main.py").touch()  # what some examples name has to be there
    command = COMMANDS[words]
    program, *typed = shlex.split(examples.EXAMPLES[words])
    given = typed[len(words.split()) :]

    # Click keeps the help option that it made first, so it is made as the program makes it.
    context = command.make_context(words, given, help_option_names=["-h", "--help"])

    assert program == "ninelives"
    assert typed[: len(words.split())] == words.split()
    with context:
        assert examples.EXAMPLES[words] in command.get_help(context)
