"""Completion of commands and options in shells, made by click."""

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from ninelives_server.cli.client import FAILED, fail

_SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
#: Set by the scripts when they ask for completions.
VARIABLE = "_NINELIVES_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(sorted(_SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands and options; no file is changed.

    \b
    bash:  add to ~/.bashrc    eval "$(ninelives completion bash)"
    zsh:   add to ~/.zshrc     eval "$(ninelives completion zsh)"
    fish:  ninelives completion fish > ~/.config/fish/completions/ninelives.fish
    """  # noqa: D301  # the \b is meant: click leaves the lines behind it as they are
    program = ctx.find_root()
    try:
        script = _SHELLS[shell](program.command, {}, "ninelives", VARIABLE).source()
    except RuntimeError as error:  # bash is asked for its version
        fail(str(error), FAILED)
    click.echo(script)
