"""`python -m ninelives_server` and the console script `ninelives`."""

import errno
import os
import sys

from ninelives_server.cli import output
from ninelives_server.cli.app import cli

#: What a write to a full or broken disk says; a pipe that nobody reads any more is click's.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})


def main() -> None:
    """Run the command line."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if sys.stdout is None:  # closed by who started us
        sys.stdout = os.fdopen(os.dup(nowhere), "w")
    try:
        cli()
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        output.say(f"what was to be written could not be: {error.strerror}")
        os.dup2(nowhere, 1)  # what is left of it would fail again at the end
        sys.exit(1)


if __name__ == "__main__":
    main()
