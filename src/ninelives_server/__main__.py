"""`python -m ninelives_server` and the console script `ninelives`."""

from ninelives_server.cli.app import cli


def main() -> None:
    """Run the command line."""
    cli()


if __name__ == "__main__":
    main()
