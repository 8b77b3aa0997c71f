"""What commands print: one JSON document, help, next steps; and how they take secrets and names."""

import json
from pathlib import Path

import click
import pytest
from api_site import MAIN, MANIFEST, Site, Things, a_name
from click.testing import CliRunner
from terminal import Terminal

from ninelives_server.cli.app import cli

pytestmark = [pytest.mark.system]


def leaves(command=cli, path=()):
    """Yield the words and the command of everything that can be run."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path, command


COMMANDS = dict(leaves())
WITH_JSON = sorted(
    path for path, command in COMMANDS.items() if any(p.name == "output" for p in command.params)
)

#: How each command with `-o json` is run; one that is not here fails the walk.
RUNS = {
    ("build", "list"): ("{project_name}",),
    ("build", "show"): ("{build_id}",),
    ("connection", "create"): (
        ("{fresh}", "second", "salesforce", "--set", "client_id=3MVG9", "--set", "client_secret=-")
    ),
    ("connection", "delete"): ("{fresh}/crm", "--yes"),
    ("connection", "doctor"): ("{connection_id}",),
    ("connection", "edit"): ("{project_name}/crm", "--set", "client_id=3MVG8"),
    ("explain",): (__file__,),
    ("connection", "init"): ("{connection_id}", "--no-wait"),
    ("connection", "list"): (),
    ("connection", "refresh"): None,  # no grant: the failure is a message, not a document
    ("connection", "revoke"): ("{connection_id}",),
    ("connection", "show"): ("{project_name}/crm",),
    ("connection", "test"): ("{connection_id}",),
    ("deploy",): ("{directory}",),
    ("deployment", "activate"): ("{deployment_id}",),
    ("deployment", "delete"): None,  # the only deployment is in service: a message, not a document
    ("deployment", "deactivate"): ("{fresh_deployment}",),
    ("deployment", "list"): ("{project_name}",),
    ("deployment", "test"): None,  # the only deployment is in service: a message, not a document
    ("doctor",): (),
    ("event", "list"): ("{project_name}",),
    ("event", "redispatch"): ("{event_id}",),
    ("event", "show"): ("{event_id}",),
    ("event", "verify-filter"): ("data.x == 1", "--data", '{{"x": 1}}'),
    ("init",): ("{new}", "--directory", "{directory}"),
    ("integrations", "check"): (),
    ("integrations", "list"): (),
    ("integrations", "new"): ("acme", "--directory", "{directory}"),
    ("login",): (),
    ("project", "concurrency"): ("{fresh}", "3"),
    ("project", "create"): ("{new}",),
    ("project", "delete"): ("{fresh}", "--yes"),
    ("project", "export"): ("{project_name}", "{directory}/copy"),
    ("project", "lint"): ("{directory}",),
    ("project", "list"): (),
    ("project", "retention"): ("{fresh}", "--logs", "3"),
    ("project", "show"): ("{project_name}",),
    ("server", "backup"): ("{directory}/b.gz", "--data-dir", "{data_dir}"),
    ("server", "migrate"): ("--data-dir", "{directory}/data"),
    ("server", "restore"): None,  # needs a backup: test_care.py
    ("server", "rotate-key"): None,  # the server must be down: test_care.py
    ("session", "fork"): ("{ended_session}", "--from-step", "1"),
    ("session", "list"): ("{project_name}", "--state", "created"),
    ("session", "logs"): ("{session_id}",),
    ("session", "show"): ("{session_id}",),
    ("session", "start"): ("{project_name}", "main.py:on_open", "-i", "x=1"),
    ("session", "steps"): ("{session_id}",),
    ("session", "stop"): ("{fresh_session}", "--kill"),
    ("session", "watch"): ("{ended_session}",),
    ("store", "delete"): ("{fresh}", "{key}"),
    ("store", "get"): ("{project_name}", "{key}"),
    ("store", "list"): ("{project_name}",),
    ("store", "publish"): ("{fresh}", "{key}"),
    ("store", "set"): ("{fresh}", "{key}", "5"),
    ("token", "create"): ("{new}",),
    ("token", "list"): (),
    ("token", "revoke"): ("{token_id}",),
    ("trigger", "limits"): ("{fresh}/hook", "--max-concurrent", "3"),
    ("trigger", "list"): ("{project_name}",),
    ("trigger", "show"): ("{project_name}/hook",),
    ("var", "delete"): ("{fresh}", "CHANNEL"),
    ("var", "list"): ("{project_name}",),
    ("var", "set"): ("{fresh}", "KEY", "-", "--secret"),
    ("worker", "list"): (),
}


@pytest.fixture
def names(site: Site, things: Things, tmp_path):
    """What the commands above are run on."""
    (tmp_path / "ninelives.yaml").write_text(MANIFEST.format(name=a_name()))
    (tmp_path / "main.py").write_text(MAIN)
    fresh = site.things()
    start = {"entrypoint": "main.py:on_open"}
    ended = site.good(site.ask("POST", f"/projects/{fresh.project}/sessions", json=start))["id"]
    site.good(site.ask("POST", f"/sessions/{ended}/stop", json={"kill": True}))
    return {
        **things.__dict__,
        "fresh": fresh.project_name,
        "fresh_deployment": fresh.deployment_id,
        "fresh_session": fresh.session_id,
        "ended_session": ended,
        "new": a_name("new"),
        "directory": str(tmp_path),
        "data_dir": str(site.up.data_dir),
        "token_id": site.good(site.ask("POST", "/tokens", json={"name": a_name("t")}))["id"],
    }


def test_every_command_with_json_is_walked():
    """
    So that a new one cannot be forgotten.
    """
    assert sorted(RUNS) == WITH_JSON


@pytest.mark.parametrize("path", [p for p in RUNS if RUNS[p] is not None], ids=" ".join)
def test_json_output_is_exactly_one_document(ninelives: Terminal, names, path):
    """
    Whatever else is said goes to stderr, so that a program can read stdout as it is.
    """
    arguments = [word.format(**names) for word in RUNS[path]]

    result = CliRunner().invoke(cli, [*path, *arguments, "-o", "json"], input="secret-on-stdin")

    assert result.exit_code in {0, 1}, result.output
    assert isinstance(json.loads(result.stdout), dict)
    assert "secret-on-stdin" not in result.output


@pytest.mark.parametrize(
    "path",
    sorted({(), *(p[:1] for p in COMMANDS), *COMMANDS}),
    ids=lambda path: " ".join(("ninelives", *path)),
)
def test_help_works_without_a_server(path):
    """
    For the program, each group and each command; and it says what the command does.
    """
    result = CliRunner().invoke(cli, [*path, "--help"])

    assert result.exit_code == 0
    assert "Usage: " in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("command", "next_step"),
    [
        (("project", "list"), "ninelives init"),
        (("connection", "list"), "ninelives connection create"),
        (("session", "list"), "ninelives session start"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_an_empty_server_shows_the_next_step(site: Site, ninelives: Terminal, command, next_step):
    """
    On stderr: a script that counts lines counts none.
    """
    done = ninelives.at(site, "stranger")(*command)

    assert done.out == ""
    assert next_step in done.err


@pytest.mark.parametrize(
    ("command", "next_step"),
    [
        (("deployment", "list"), "ninelives deploy"),
        (("build", "list"), "ninelives deploy"),
        (("trigger", "list"), "deploy"),
        (("connection", "list"), "ninelives connection create"),
        (("event", "list"), "no events yet"),
        (("var", "list"), "ninelives var set"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_an_empty_project_shows_the_next_step(ninelives: Terminal, command, next_step):
    """
    The same for what a project made by hand has none of.
    """
    name = a_name()
    ninelives("project", "create", name)

    done = ninelives(*command, name)

    assert done.out == ""
    assert next_step in done.err


def test_a_secret_is_not_taken_from_the_arguments(ninelives: Terminal, things: Things):
    """
    Other users of a machine can read them. The message says how to, and does not repeat the secret.
    """
    typed = "typed-secret"
    commands = [
        ("connection", "create", "p", "c", "salesforce", "--set", f"client_secret={typed}"),
        ("connection", "edit", things.connection_id, "--set", f"client_secret={typed}"),
        ("var", "set", things.project, "KEY", typed, "--secret"),
    ]

    for command in commands:
        done = ninelives(*command, code=2)
        assert "standard input" in done.err
        assert typed not in done.err


def test_no_command_has_an_option_for_a_secret():
    """
    No password, token or key is an option's value; files of them are. A trigger's `key` is an expression.
    """
    words = ("token", "password", "secret", "key")
    suspects = [
        f"{' '.join(path)} {option}"
        for path, command in COMMANDS.items()
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.is_flag
        for option in parameter.opts
        if any(word in option for word in words) and not option.endswith("-file")
    ]

    assert suspects == ["trigger limits --key"]


@pytest.mark.parametrize("how", ["stdin", "file", "environment"])
def test_a_secret_comes_from_elsewhere(ninelives: Terminal, site: Site, tmp_path, how):
    """
    Standard input, a file or the environment; without the newline that an editor leaves.
    """
    name = a_name()
    ninelives("project", "create", name)
    (tmp_path / "secret").write_text("quiet\n")
    ninelives.set(QUIET="quiet")
    value = {"stdin": "-", "file": f"@{tmp_path / 'secret'}", "environment": "env:QUIET"}[how]

    ninelives("var", "set", name, "KEY", value, "--secret", stdin="quiet\n")
    made = ninelives(
        *("connection", "create", name, "crm", "salesforce", "-o", "json"),
        *("--set", "client_id=3MVG9", "--set", f"client_secret={value}"),
        stdin="quiet\n",
    )

    assert made.document["secrets_set"] == ["client_secret"]
    assert "quiet" not in made.out + made.err
    [variable] = ninelives("var", "list", name, "-o", "json").document["items"]
    assert (variable["value"], variable["is_secret"], variable["is_set"]) == (None, True, True)
    assert site.get(f"/projects/{name}/variables")["items"] == [variable]


def test_a_thing_is_named_by_id_or_by_project_and_name(ninelives: Terminal, things: Things):
    """
    The project by its id or its name, too.
    """
    by = ("connection", "show", "-o", "json")

    shown = [
        ninelives(*by, ref).document["id"]
        for ref in (things.connection_id, f"{things.project_name}/crm", f"{things.project}/crm")
    ]
    triggers = [
        ninelives("trigger", "show", ref, "-o", "json").document["id"]
        for ref in (things.trigger_id, f"{things.project_name}/hook", f"{things.project}/hook")
    ]

    assert set(shown) == {things.connection_id}
    assert set(triggers) == {things.trigger_id}


def test_a_connection_of_a_manifest_is_initialised_by_one_command(ninelives: Terminal, tmp_path: Path):
    """
    Without its app `init` says what is missing, where the callback goes and what to type; typed like that, it
    hands out the address of the start page.
    """
    name = a_name()
    (tmp_path / "main.py").write_text("def on_lead(event):\n    print(event)\n")
    manifest = (
        "version: v2\nproject:\n  name: {}\n  connections:\n    - name: crm\n      integration: salesforce\n"
    )
    (tmp_path / "ninelives.yaml").write_text(manifest.format(name))
    deployed = ninelives("deploy", str(tmp_path))

    refused = ninelives("connection", "init", f"{name}/crm", "--no-wait", code=1)
    started = ninelives(
        *("connection", "init", f"{name}/crm", "--no-wait", "-o", "json"),
        *("--set", "client_id=3MVG9", "--set", "client_secret=-"),
        stdin="quiet\n",
    )

    assert f"ninelives connection init {name}/crm" in deployed.err
    assert "has no Client ID and no Client Secret" in refused.err
    assert "--set client_id=… --set client_secret=-" in refused.err
    assert "/oauth/redirect/salesforce" in refused.err
    assert set(started.document) == {"url", "code", "expires_at"}
    shown = ninelives("connection", "show", f"{name}/crm", "-o", "json")
    assert shown.document["settings"]["client_id"] == "3MVG9"
    assert shown.document["secrets_set"] == ["client_secret"]
    assert "/oauth/redirect/salesforce" in shown.err
    assert "quiet" not in started.out + started.err + shown.out


def test_a_name_is_never_part_of_the_path(ninelives: Terminal, things: Things):
    """
    A name with a slash, a question mark or dots is looked up as it is, and not as another address.
    """
    for name in ("../projects", "a/b", "x?limit=1", "%2e%2e", "#", ".."):
        assert ninelives("project", "show", name, code=3).out == ""
    ninelives("var", "delete", things.project_name, "../../x", code=3)


def test_the_document_is_the_apis(ninelives: Terminal, site: Site, things: Things):
    """
    `-o json` prints what the API answers, unchanged.
    """
    shown = ninelives("project", "show", things.project_name, "-o", "json").document

    assert shown == site.get(f"/projects/{things.project}")


def test_user_data_is_never_markup(ninelives: Terminal):
    """
    Square brackets in a value are printed, and not read as colours.
    """
    name = a_name()
    ninelives("project", "create", name)
    ninelives("var", "set", name, "KEY", "[red]alert[/red] [/]")

    assert "[red]alert[/red] [/]" in ninelives("var", "list", name).out
