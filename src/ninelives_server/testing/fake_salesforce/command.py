"""The command `fake-salesforce`, for the command line of the product and for `python -m`."""

import json
from pathlib import Path
from typing import Any

import click

from ninelives_server.testing.fake_salesforce import apps
from ninelives_server.testing.fake_salesforce.behaviour import Behaviour


def _switches(given: tuple[str, ...]) -> Behaviour:
    changes: dict[str, Any] = {}
    for item in given:
        name, _, value = item.partition("=")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            changes[name] = value
    try:
        return Behaviour().but(changes)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command("fake-salesforce", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--port", default=0, show_default=True, help="Port of HTTPS; 0 picks one.")
@click.option("--pubsub-port", default=0, show_default=True, help="Port of the Pub/Sub API.")
@click.option("--http-port", type=int, help="Also serve plain HTTP, which no real org does.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the certificate authority here.",
)
@click.option(
    "--callback",
    "callbacks",
    multiple=True,
    metavar="URL",
    help=f"Callback of the org's app; may be given again.  [default: {apps.DEFAULT_CALLBACK}]",
)
@click.option(
    "--host-name",
    default="localhost",
    show_default=True,
    help="Name of the org in its URLs; 127.0.0.1 is another site than localhost.",
)
@click.option("--name", "names", multiple=True, help="Further name in the certificate.")
@click.option("--bind", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--behaviour", "switches", multiple=True, metavar="NAME=VALUE", help="Set a switch of the org."
)  # fmt: skip
def command(
    *, port: int, pubsub_port: int, http_port: int | None, directory: Path | None,
    callbacks: tuple[str, ...], host_name: str, names: tuple[str, ...], bind: str,
    switches: tuple[str, ...],
) -> None:  # fmt: skip
    """Run a fake Salesforce org until interrupted.

    The first line on stdout is a JSON object: its addresses, an app's key and secret, a user, and the URL
    of the control interface. Trust the certificate authority in `ca_file`.
    """
    from ninelives_server.testing.fake_salesforce import main  # gRPC takes a while; other commands do without

    behaviour = _switches(switches)
    try:
        main.run(
            port, pubsub_port, directory, callback=callbacks, host_name=host_name, names=names,
            http_port=http_port, bind=bind, behaviour=behaviour,
        )  # fmt: skip
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"the org could not start: {error}") from error
