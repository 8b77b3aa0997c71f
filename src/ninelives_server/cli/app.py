"""The command `ninelives` and its groups."""

from importlib.metadata import version

import click

from ninelives_server.cli import (
    access,
    care,
    catalogue,
    completion,
    connections,
    demo,
    events,
    examples,
    explain,
    project_files,
    projects,
    sessions,
    setup,
    store,
    up,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("ninelives"), prog_name="ninelives")
def cli() -> None:
    """Self-hosted automation: plain Python that survives crashes, on your own OAuth apps.

    Start with `ninelives up`. Commands talk to the server at NINELIVES_SERVER_URL (default: the one that
    `up` started). Exit codes: 0 done, 1 the thing itself failed, 2 usage, 3 no such thing, 4 no server or
    not allowed.
    """


for command in (
    up.up,
    up.server,
    up.worker,
    setup.init,
    setup.doctor,
    explain.explain,
    completion.completion,
    setup.fake_salesforce,
    access.login,
    access.token,
    demo.demo,
    projects.deploy,
    projects.project,
    projects.build,
    projects.deployment,
    projects.trigger,
    projects.var,
    connections.connection,
    connections.integrations,
    events.event,
    store.store,
    sessions.session,
):
    cli.add_command(command)
for part in (project_files.lint, project_files.export, project_files.schema):
    projects.project.add_command(part)
for part in (catalogue.check, catalogue.new):
    connections.integrations.add_command(part)
up.server.add_command(care.backup)
up.server.add_command(care.restore)
examples.show_in(cli)
