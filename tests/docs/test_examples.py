"""
The examples in the pages are what the program takes: each manifest is deployed, each command parsed, each
Python block compiled and explained. `test_example_programs.py` runs those that are programs.
"""

import ast
import builtins
import inspect
import json
import re
import subprocess
import symtable
from pathlib import Path

import click
import documented
import pytest
from click.testing import CliRunner
from documented import ROOT, Block

from ninelives_server.cli.app import cli
from ninelives_server.events.filters import Filters
from ninelives_server.vault import keys

BLOCKS = {block.name: block for block in documented.blocks()}

#: Blocks that no test reads, and why.
NOT_CHECKED = {
    "explanation/architecture.md 1": "a picture of the layers; `make layers` checks the contract itself",
    "explanation/events.md 1": "a picture",
    "explanation/isolation.md 1": "a picture",
    "explanation/journal.md 1": "a picture of the dialogue on a worker's link",
    "explanation/oauth.md 1": "a picture of the flow; tests/oauth walks it",
    "guides/projects.md 1": "a picture of a directory",
    "integrations/salesforce/private-oauth.md 1": "the form of an address; tests/browser follows the guide with it",
    "reference/manifest.md 1": "a comment for editors; the address in it is opened by its own test",
}
#: What is no command of this program, by its first word, and why it is not tried.
OTHER_PROGRAMS = {
    "curl": "sends to an address that is made up",
    "export": "sets PATH",
    "install": "Debian's coreutils",
    "mkdir": "Debian's coreutils",
    "python3": "installs the wheel from a package index; tests/system/test_wheel.py does that",
    "~/ninelives/bin/pip": "installs the wheel's dependencies from a package index; the same",
}

#: What a fragment of a manifest leaves out: connections that it names, and code that it calls.
LEFT_OUT = {
    "explanation/events.md 2": ("[{name: crm, integration: salesforce}]", "def on_lead(event): ..."),
    "guides/limits.md 1": ("[]", ""),
    "guides/waiting.md 2": ("[]", ""),
    "guides/webhooks.md 4": ("[]", "def on_push(event): ..."),
    "reference/manifest.md 2": (
        "[]",
        "def on_lead(event): ...\ndef quote(event): ...\ndef cleanup(event): ...",
    ),
}
#: What the linter may say of a manifest that is only an example.
ODD = {"empty-variable", "no-triggers", "webhook-unreachable"}

#: Names that a Python block leaves to its reader.
READERS_OWN = {
    "guides/waiting.md 3": {"send_mail"},
    "guides/waiting.md 6": {"handle"},
    "reference/fake-salesforce.md 2": {"callback", "authorize_url"},
}


def of_kind(kind: str) -> list[object]:
    """Return the blocks of a kind, as parameters of a test."""
    return [pytest.param(block, id=name) for name, block in BLOCKS.items() if block.kind == kind]


def test_every_block_is_read():
    """
    A fence that the reader of the pages does not understand would leave its block untested.
    """
    pages = [
        page for page in documented.PAGES if str(page.relative_to(ROOT)) not in documented.MADE_FROM_CODE
    ]
    fences = sum(len(re.findall(r"^ *```", page.read_text(), re.MULTILINE)) for page in pages)

    assert fences == 2 * len(BLOCKS)
    assert len(BLOCKS) > 40


def test_every_block_is_checked_or_says_why_not():
    """
    And what is listed is still there.
    """
    own = {
        "explanation/events.md 3",
        "guides/web-ui.md 2",
        "reference/manifest.md 3",
        "reference/manifest.md 1",
    }
    text = {name for name, block in BLOCKS.items() if block.kind == "text"}

    assert text | {"reference/manifest.md 1"} == NOT_CHECKED.keys() | own
    assert NOT_CHECKED.keys() <= BLOCKS.keys()
    assert READERS_OWN.keys() | LEFT_OUT.keys() <= BLOCKS.keys()


# --- commands -----------------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands are typed: what they name is there."""
    for name in ("DIR", "first", "lead_router", "examples/lead_router"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("main.py", "ninelives-backup.gz", "worker-token", "keys-from-elsewhere"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parse(words: list[str], *, is_whole: bool = True) -> None:
    """Have the program's own parser read a command; `UsageError` where it would refuse it.

    Args:
        words: The command, without the program's name.
        is_whole: Whether all that the command needs is given; in passing a text names only what it talks about.
    """
    command: click.Command = cli
    typed = [re.sub(r"^/(etc/ninelives|srv)/", "", word) for word in words]
    while isinstance(command, click.Group) and typed and typed[0] in command.commands:
        command = command.commands[typed.pop(0)]
    if isinstance(command, click.Group) and not command.invoke_without_command:
        assert not typed, f"there is no command {' '.join(words)!r}"
        assert not is_whole, f"{' '.join(words)!r} is a group of commands"
        return
    try:
        command.make_context("ninelives", typed, help_option_names=["-h", "--help"]).close()
    except click.MissingParameter:
        if is_whole:
            raise


@pytest.mark.parametrize("block", of_kind("shell"))
def test_a_command_is_one(block: Block, directory: Path):
    """
    Its words, options and arguments are those that the program has; targets of `make` are there.
    """
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    found = [words for line in block.commands() for words in documented.typed(line)]

    assert found
    for program, *words in found:
        if program == "ninelives":
            parse(words)
        elif program == "make":
            assert words[0] in targets
        else:
            assert program in OTHER_PROGRAMS or program.startswith("NINELIVES_")


def test_a_shell_block_is_shell():
    """
    Where it is no synopsis, bash reads it.
    """
    whole = [block for block in BLOCKS.values() if block.kind == "shell" and "[--" not in block.text]
    for block in whole:
        subprocess.run(["bash", "-n"], input="\n".join(block.commands()), text=True, check=True)
    assert whole


PAGES = [*documented.PAGES, *sorted((ROOT / "src").rglob("*.py")), *sorted((ROOT / "src").rglob("*.html"))]


@pytest.mark.parametrize(("place", "command"), documented.spans(PAGES))
def test_a_command_named_in_passing_is_one(place: str, command: str, directory: Path):
    """
    In the pages, and in what the program itself says: errors, warnings, its own pages.
    """
    command = re.sub(
        r"\{(options|fields)\}", "", command.replace("[DIR]", "DIR")
    )  # several words, made at run time
    command = re.sub(r"\{[^}]*\}+", "X", command)
    for words in documented.typed(command):
        parse(words[1:], is_whole=False)


@pytest.mark.parametrize(
    "wrong", ["ninelives nosuch", "ninelives deploy --nosuch", "ninelives session stop", "ninelives session"]
)
def test_a_wrong_command_would_be_noticed(wrong: str, directory: Path):
    """
    The parser is strict.
    """
    with pytest.raises((click.UsageError, AssertionError)):
        parse(wrong.split()[1:])


# --- manifests ----------------------------------------------------------------------------------------------


def written(block: Block, directory: Path, name: str) -> Path:
    """Write the project of a manifest: the page's own code, or what the example leaves out."""
    connections, code = LEFT_OUT.get(block.name, ("", ""))
    text = block.text
    if not re.search("^project:", text, re.MULTILINE):
        inner = re.sub("^", "  ", text, flags=re.MULTILINE)
        text = f"project:\n  name: example\n  connections: {connections}\n{inner}"
    text = re.sub("^  name: .*", f"  name: {name}", text, flags=re.MULTILINE)
    code = code or "\n".join(
        other.text for other in BLOCKS.values() if other.page == block.page and "# main.py" in other.text
    )
    place = directory / name
    place.mkdir()
    (place / "ninelives.yaml").write_text(text, encoding="utf-8")
    (place / "main.py").write_text(code, encoding="utf-8")
    return place


MANIFESTS = [parameter for parameter in of_kind("yaml") if parameter.id not in NOT_CHECKED]


@pytest.mark.system
@pytest.mark.parametrize("block", MANIFESTS)
def test_a_manifest_can_be_deployed(block: Block, ninelives, tmp_path: Path):
    """
    The linter finds no fault in it, and a real server takes it.
    """
    place = written(block, tmp_path, "docs_" + re.sub(r"\W+", "_", block.name))

    found = ninelives("project", "lint", str(place), "-o", "json").document["items"]
    assert {finding["rule"] for finding in found} <= ODD
    planned = ninelives("deploy", str(place), "--dry-run")
    assert planned.out.count("trigger") >= block.text.count("- name: ") - block.text.count("integration:")
    done = ninelives("deploy", str(place), "-o", "json").document

    assert done["changed"] is True


@pytest.mark.system
@pytest.mark.parametrize("name", ["guides/schedules.md 3", "guides/webhooks.md 3"])
def test_what_a_page_shows_of_a_trigger_is_what_is_printed(name: str, ninelives, tmp_path: Path, monkeypatch):
    """
    The fields in the page are lines of the real output, in their order; values that are no place or time agree.
    """
    block = BLOCKS[name]
    manifest = next(b for b in BLOCKS.values() if b.page == block.page and b.kind == "yaml")
    project = re.search(r"trigger show (\w+)/(\w+)", block.text)
    assert project is not None
    place = written(manifest, tmp_path, project[1])
    shown = [_field(line) for line in block.text.splitlines() if re.match(r"[a-z ]+  ", line)]
    monkeypatch.chdir(place)

    ninelives("deploy", ".")
    lines = ninelives("trigger", "show", project[0].split()[-1]).out.splitlines()
    printed = dict(_field(line) for line in lines)

    assert shown
    assert [field for field in printed if field in dict(shown)] == [field for field, _ in shown]
    for field, value in shown:
        if field not in {"next at", "webhook url"}:
            assert printed[field] == value
    assert "next at" not in printed or re.fullmatch(r"\d{4}-\d\d-\d\dT0[12]:00:00Z", printed["next at"])


def _field(line: str) -> tuple[str, str]:
    """Part a line of what `show` prints."""
    name, _, value = line.partition("  ")
    return name, value.strip()


def faulty(name: str) -> str:
    """Return the full example of a manifest with the mistakes of a page that shows errors."""
    text = BLOCKS["reference/manifest.md 2"].text
    return text.replace("event_type: lead ", "evnt_type: lead ").replace("on_lead", "on_laed", 1)


def test_the_errors_of_a_manifest_are_shown_as_they_are_printed(tmp_path: Path):
    """
    In the reference of manifests: the full example above, with two mistakes.
    """
    manifest = BLOCKS["reference/manifest.md 2"]
    place = written(manifest, tmp_path, "lead_router")
    (place / "ninelives.yaml").write_text(faulty(manifest.text), encoding="utf-8")

    done = CliRunner().invoke(cli, ["project", "lint", str(place), "--offline", "-o", "json"])
    errors = [found for found in json.loads(done.stdout)["items"] if found["severity"] == "error"]

    printed = [f"{found['file']}:{found['line']}: {found['message']}" for found in errors]
    assert printed == BLOCKS["reference/manifest.md 3"].text.splitlines()


def test_what_the_linter_prints_is_shown_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """
    In the reference of its rules: one error and one warning, where the page says that they are.
    """
    _, *shown = BLOCKS["reference/lint.md 1"].text.splitlines()
    place = tmp_path / "lead_router"
    place.mkdir()
    manifest = (
        "project:\n  name: lead_router\n  connections:\n    - {name: chat, integration: slack}\n"
        f"  triggers:\n    - name: hook\n      type: webhook\n{'#' * 12}\n      evnt_type: post\n"
    )
    (place / "ninelives.yaml").write_text(manifest.replace("#", "      #\n"), encoding="utf-8")
    code = "from autokitteh.slack import slack_client\n\n#\n#\n#\n\ndef on_lead(event):\n    slack_client('chatt')\n"
    (place / "main.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    done = CliRunner().invoke(cli, ["project", "lint", "./lead_router", "--offline"])

    assert done.output.splitlines() == shown


# --- other notations ----------------------------------------------------------------------------------------


def test_filters_are_expressions():
    """
    Each line of the page about events.
    """
    expressions = BLOCKS["explanation/events.md 3"].text.splitlines()

    assert [Filters().check(expression) for expression in expressions] == [None] * len(expressions)
    assert len(expressions) > 3


def test_the_line_that_makes_a_key_makes_one(tmp_path: Path):
    """
    With the old key for its placeholder; openssl runs.
    """
    line = BLOCKS["reference/settings.md 1"].text.replace("THE-OLD-ONE", "A" * 43 + "=").strip()
    value = subprocess.run(
        ["bash", "-c", f'{line}; printf %s "$NINELIVES_ENCRYPTION_KEYS"'],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout

    keys.parse(value, "the page")


@pytest.mark.system
def test_the_address_of_the_schema_is_one(site):
    """
    The line for editors names what a server serves.
    """
    path = BLOCKS["reference/manifest.md 1"].text.rpartition("localhost:9980")[2].strip()

    assert site.http.get(site.up.url + path).json()["$schema"]


@pytest.mark.system
def test_addresses_of_lists_are_pages(site):
    """
    Of a project that is there, each with its filter filled in.
    """
    site.deployed("lead_router_listed")
    for address in BLOCKS["guides/web-ui.md 2"].text.splitlines():
        path, _, query = address.replace("lead_router", "lead_router_listed").partition("?")
        page = site.look(f"{path}?{query}")
        assert page.status_code == 200
        for name in re.findall(r"(\w+)=", query):
            assert f'name="{name}"' in page.text


# --- Python -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", of_kind("python"))
def test_a_python_block_compiles_and_is_explained(block: Block, tmp_path: Path):
    """
    `ninelives explain` reads it, and knows what each call of the SDK and of time will be.
    """
    code = compile(block.text, block.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:  # a piece of a coroutine
        source = "async def piece():\n" + re.sub("^", "    ", block.text, flags=re.MULTILINE)
    else:
        source = block.text
    (tmp_path / "main.py").write_text(source, encoding="utf-8")

    done = CliRunner().invoke(cli, ["explain", str(tmp_path / "main.py"), "-o", "json"])

    assert done.exit_code == 0, done.output
    calls = json.loads(done.stdout)["calls"]
    assert calls
    known = [call for call in calls if re.match(r"(ninelives|salesforce|time|print)\b", call["call"])]
    assert [call for call in known if call["kind"] == "decided at run time"] == []


@pytest.mark.parametrize("block", of_kind("python"))
def test_a_python_block_uses_no_name_that_is_nowhere(block: Block):
    """
    But for those that are left to the reader, in a list above.
    """
    used = _free(
        symtable.symtable(
            "async def piece():\n" + re.sub("^", "    ", block.text, flags=re.MULTILINE), "x", "exec"
        )
    )

    assert used == READERS_OWN.get(block.name, set())


def _free(table: symtable.SymbolTable) -> set[str]:
    """Return names that a block uses and neither defines nor finds among the builtins."""
    found = {
        symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced()
    }
    for inner in table.get_children():
        found |= _free(inner)
    return found - set(dir(builtins)) - {"piece"}
