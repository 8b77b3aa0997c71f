"""Exit codes and messages: 0 done, 1 it failed, 2 usage, 3 no such thing, 4 no server or not allowed."""

import json
import socket
import subprocess
import sys

import pytest
from api_site import Site, Things, a_name
from terminal import Terminal

from ninelives_server.testing.running import environment

pytestmark = [pytest.mark.system]

DEEP = "[" * 10_000 + "]" * 10_000
CALLS_NOTHING = """
project:
  name: {name}
  triggers:
    - {{name: hook, type: webhook, call: main.py:nope}}
"""


def test_done_is_0(ninelives: Terminal):
    """
    And the document is on stdout.
    """
    assert ninelives("project", "create", a_name(), "-o", "json").document["id"].startswith("prj_")


@pytest.mark.parametrize("noun", ["session", "event", "deployment", "build", "project"])
def test_what_has_no_name_in_a_project_is_not_looked_up_as_if(ninelives: Terminal, noun: str):
    """
    `PROJECT/NAME` is for triggers and connections; the answer says what is wanted here.
    """
    done = ninelives(noun, "activate" if noun == "deployment" else "show", "crm/main", code=3)

    assert "'crm/main'" in done.err
    assert "takes an id" in done.err


@pytest.mark.parametrize(
    "command",
    [
        ("event", "verify-filter", "data.x =="),
        ("connection", "test", "{connection}"),
        ("connection", "refresh", "{connection}"),
        ("project", "create", "{project}"),
        ("deployment", "delete", "{deployment}"),
    ],
    ids=" ".join,
)
def test_a_thing_that_failed_is_1(ninelives: Terminal, things: Things, command):
    """
    The request was understood and the answer is no; the reason is on stderr or is the document.
    """
    names = {
        "connection": things.connection_id,
        "project": things.project_name,
        "deployment": things.deployment_id,
    }

    done = ninelives(*(word.format(**names) for word in command), code=1)

    assert done.err or done.out


WRONG = {
    "a key that is none": (
        {"ninelives.yaml": "project:\n  name: {name}\n  colour: x\n"},
        "unknown key 'colour'",
    ),
    "no manifest": ({"main.py": ""}, "ninelives init NAME"),
    "no YAML": ({"ninelives.yaml": "project: ["}, "ninelives.yaml:"),
    "a name that is none": ({"ninelives.yaml": "project:\n  name: not a name\n"}, "not a name"),
    "a handler that is not there": ({"ninelives.yaml": CALLS_NOTHING, "main.py": ""}, "main.py:nope"),
    "a package that is not there": (
        {"ninelives.yaml": "project: {{name: {name}}}", "requirements.txt": "a b c"},
        "requirements.txt",
    ),
    "a file name that is not usable": (
        {"ninelives.yaml": "project: {{name: {name}}}", "a\\b.py": ""},
        "not usable everywhere",
    ),
}


@pytest.mark.parametrize("what", list(WRONG))
@pytest.mark.parametrize(
    "command",
    [
        ("deploy",),
        ("deploy", "--dry-run"),
        ("deploy", "--check"),
        ("deploy", "-o", "json"),
        ("project", "lint"),
        ("project", "lint", "--offline"),
    ],
    ids=" ".join,
)
def test_a_project_that_is_refused_is_1(ninelives: Terminal, tmp_path, command, what):
    """
    The command was right and its directory is there: what is in it is wrong, whichever command says so.
    """
    files, said = WRONG[what]
    for path, text in files.items():
        (tmp_path / path).write_text(text.format(name=a_name()))

    done = ninelives(*command, str(tmp_path), code=1)

    assert said in done.out + done.err


@pytest.mark.parametrize("command", [("deploy",), ("deploy", "--check"), ("project", "lint")], ids=" ".join)
def test_a_project_that_is_right_is_0(ninelives: Terminal, tmp_path, command):
    """
    Also where there are warnings.
    """
    (tmp_path / "ninelives.yaml").write_text(f"project: {{name: {a_name()}}}")

    ninelives(*command, str(tmp_path), code=0)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("dance",), "dance"),
        (("project", "show"), "NAME"),
        (("project", "list", "-o", "xml"), "xml"),
        (("project", "create", "not a name"), "not a name"),
        (("session", "start", "p", "main.py:f", "-i", "x"), "KEY=JSON"),
        (("session", "start", "p", "main.py:f", "-i", "x=Ada"), "x='\"Ada\"'"),
        (("connection", "show", "crm"), "PROJECT/NAME"),
        (("connection", "create", "p", "c", "salesforze"), "salesforce"),
        (("connection", "create", "p", "c", "salesforce", "--set", "colour=red"), "client_id"),
        (("connection", "create", "p", "c", "salesforce", "--set", "client_id"), "FIELD=VALUE"),
        (("connection", "create", "p", "c", "salesforce", "--auth-mode", "magic"), "oauth_private"),
        (("connection", "create", "p", "c", "salesforce", "--set", "client_id=env:NO_SUCH"), "NO_SUCH"),
        (("connection", "create", "p", "c", "salesforce", "--set", "client_id=@/no/file"), "/no/file"),
        (("project", "delete", "p"), "--yes"),
        (("event", "verify-filter", "true", "--data", "{nonsense"), "JSON"),
        (("event", "verify-filter", "true", "--data", "[1]"), "data"),
        (("deploy", "/no/such/directory"), "/no/such/directory"),
        (("project", "lint", "../no_such"), "../no_such is no directory"),
        (("var", "set", "p", "KEY", "text", "--secret"), "give - (standard input), @path or env:NAME"),
        (("store", "set", "p", "k", '"\\ud800"'), "UTF-8"),
        (("session", "start", "p", "main.py:f", "-i", "x=NaN"), "JSON"),
        (("var", "set", "p", "K", "@/bin/sh"), "UTF-8"),
        (("session", "start", "p", "main.py:f", "-i", f"x={DEEP}"), "the value of 'x' is nested too deeply"),
        (("session", "start", "p", "main.py:f", "-i", "x=" + "9" * 5000), "4300 digits"),
        (("session", "start", "p\udcff", "main.py:f"), r"'p\udcff' is no text in UTF-8"),
        (("session", "show", "\udcff"), r"'\udcff' is no text in UTF-8"),
        (("event", "verify-filter", "true", "--data", DEEP), "--data is nested too deeply"),
        (("store", "set", "p", "k", DEEP), "the value of 'k' is nested too deeply"),
        (("deploy", "{files}", "--project", "not a name"), "not a name"),
        (("project", "lint", "{files}", "--project", "not a name"), "not a name"),
        (("explain", "{files}/main.py", "--python", "/no/python"), "/no/python"),
        (("explain", "/no/such/file.py"), "/no/such/file.py"),
    ],
    ids=lambda value: ascii(" ".join(value))[1:80] if isinstance(value, tuple) else None,
)
def test_a_mistake_in_the_command_is_2(ninelives: Terminal, tmp_path, command, said):
    """
    The message names what was typed or what could be typed instead.
    """
    (tmp_path / "ninelives.yaml").write_text("project: {name: good}")
    (tmp_path / "main.py").write_text("print()")
    words = (word.replace("{files}", str(tmp_path)) for word in command)

    done = ninelives(*words, code=2)

    assert said in done.err
    assert len(done.err) < 1000


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("project", "show", "nothing"), "nothing"),
        (("session", "show", "ses_01jd8x0000000000000000000"), "ninelives session list"),
        (("session", "list", "nothing"), "nothing"),
        (("session", "start", "nothing", "main.py:f"), "nothing"),
        (("event", "show", "evt_x"), "evt_x"),
        (("build", "show", "bld_x"), "bld_x"),
        (("deployment", "activate", "dep_x"), "dep_x"),
        (("connection", "show", "con_x"), "con_x"),
        (("connection", "show", "nothing/crm"), "nothing"),
        (("connection", "show", "{project}/crn"), "it has: crm"),
        (("trigger", "show", "{project}/hok"), "it has: hook, nightly"),
        (("trigger", "show", "trg_x"), "trg_x"),
        (("var", "delete", "{project}", "NOTHING"), "NOTHING"),
        (("token", "revoke", "tok_x"), "tok_x"),
        (("login", "--web", "nobody"), "nobody"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_not_there_is_3(ninelives: Terminal, things: Things, command, said):
    """
    The message names it, and what there is instead where that is known.
    """
    done = ninelives(*(word.format(project=things.project_name) for word in command), code=3)

    assert said in done.err
    assert done.out == ""


def test_no_server_is_4_and_says_how_to_start_one(ninelives: Terminal, tmp_path):
    """
    Both where an address is set that nobody answers at, and where none is known.
    """
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        nobody = f"http://localhost:{sock.getsockname()[1]}"
    silent = ninelives.set(NINELIVES_SERVER_URL=nobody)("project", "list", code=4)
    unknown = ninelives.set(NINELIVES_SERVER_URL="", NINELIVES_DATA_DIR=str(tmp_path))(
        "project", "list", code=4
    )

    assert nobody in silent.err
    assert "ninelives up" in silent.err
    assert "ninelives up" in unknown.err


def test_not_allowed_is_4(site: Site, ninelives: Terminal):
    """
    A token that is not valid, and a role that is too small.
    """
    wrong = ninelives.set(NINELIVES_TOKEN="nl_wrong")("project", "list", code=4)
    small = ninelives.at(site, "viewer")("project", "create", a_name(), code=4)

    assert "token" in wrong.err
    assert "member" in small.err


def test_a_setting_that_is_wrong_is_2(ninelives: Terminal):
    """
    It names the variable.
    """
    done = ninelives.set(NINELIVES_SERVER_URL="ftp://x")("project", "list", code=2)

    assert "NINELIVES_SERVER_URL" in done.err


def test_the_program_itself_ends_with_the_code(site: Site, things: Things, tmp_path):
    """
    As a process: codes, one document on stdout, and a traceback for nobody.
    """
    env = environment({"NINELIVES_SERVER_URL": site.up.url, "NINELIVES_TOKEN": site.tokens["admin"]})

    def run(*arguments):
        program = [sys.executable, "-m", "ninelives_server", *arguments]
        return subprocess.run(program, env=env, capture_output=True, text=True, check=False, cwd=tmp_path)

    shown = run("project", "show", things.project_name, "-o", "json")
    missing = run("project", "show", "nothing")

    assert (shown.returncode, json.loads(shown.stdout)["id"]) == (0, things.project)
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "Traceback" not in missing.stderr
