"""
Whether a manifest agrees with the code beside it, with the integrations of this server and with its filters.
"""

from datetime import UTC, datetime
from typing import Any

import pytest
from making import MAIN, tar_of

from ninelives_server.events.filters import Filters
from ninelives_server.projects import bundles, checks, sources
from ninelives_server.projects.checks import Surroundings
from ninelives_server.projects.problems import Finding, Problems, Severity

HEAD = "version: v1\nproject:\n  name: p\n"


NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def findings(
    lines: str, *, connections=("org_chat",), head=HEAD, unreachable="", **files: str
) -> list[Finding]:
    texts = {
        "main.py": MAIN,
        **{f"{name}.py": text for name, text in files.items() if name != "requirements"},
    }
    if "requirements" in files:
        texts["requirements.txt"] = files["requirements"]
    around = Surroundings(
        integrations={"salesforce", "slack"},
        connections=set(connections),
        filters=Filters(),
        now=NOW,
        unreachable=unreachable,
    )
    problems = Problems()
    source = sources.read(bundles.read(tar_of({"ninelives.yaml": head + lines, **texts})), problems)
    checks.check(source, around, problems)
    return problems.findings


def check(lines: str, **more: Any) -> str:
    return "\n".join(str(found) for found in findings(lines, **more) if found.severity is Severity.ERROR)


def warned(lines: str, **more: Any) -> dict[str, str]:
    return {f.rule: str(f) for f in findings(lines, **more) if f.severity is Severity.WARNING}


def a_call(call: str, **files: str) -> str:
    return check(f"  triggers:\n    - name: on-lead\n      type: webhook\n      call: {call}\n", **files)


def test_what_agrees_passes():
    """
    A connection of the manifest or of the org, a function that is there, a filter that compiles.
    """
    text = (
        "  connections: [{name: crm, integration: salesforce}]\n  triggers:\n"
        "    - {name: a, connection: crm, call: main.py:on_lead, filter: data.x == 1}\n"
        "    - {name: b, connection: org_chat}\n"
    )

    assert check(text) == ""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            "main.py:on_laed",
            "trigger 'on-lead' calls main.py:on_laed, which does not exist; did you mean 'on_lead'?",
        ),
        (
            "main.py:zzz",
            "trigger 'on-lead' calls main.py:zzz, which does not exist; main.py has on_lead, on_open",
        ),
        (
            "main2.py:on_lead",
            "trigger 'on-lead' calls main2.py:on_lead, but there is no main2.py; did you mean 'main.py'?",
        ),
        ("on_lead", "trigger 'on-lead' calls 'on_lead', which is not of the form file.py:function"),
        ("main:on_lead", "trigger 'on-lead' calls 'main:on_lead', which is not of the form file.py:function"),
        (
            "main.star:on_lead",
            "trigger 'on-lead' calls 'main.star:on_lead', which is Starlark; sessions run Python",
        ),
        ("'main.py:'", "trigger 'on-lead' calls 'main.py:', which is not of the form file.py:function"),
        (
            "empty.py:f",
            "trigger 'on-lead' calls empty.py:f, which does not exist; empty.py has no function or class",
        ),
    ],
    ids=range(8),
)
def test_a_call_of_what_is_not_there_names_what_is(call: str, message: str):
    """
    File, line, and the nearest function.
    """
    assert a_call(call, empty="").startswith(f"ninelives.yaml:7: {message}")


def test_an_entry_point_in_a_folder_is_found():
    """
    `sub/prog.py:main`, as in AutoKitteh.
    """
    assert a_call("sub/prog.py:main", **{"sub/prog": "def main(event): ..."}) == ""


def test_a_broken_file_that_is_called_is_an_error_with_its_own_line():
    """
    It would fail in every session.
    """
    assert a_call("bad.py:f", bad="x = 1\ndef f(:\n").startswith("bad.py:2: syntax error in Python 3")


def test_a_broken_file_at_the_top_is_an_error_although_nothing_calls_it():
    """
    Somebody may start a session of it by hand, or import it; deployed, it would only be missed.
    """
    assert check("", main="x = 1\n\ndef f(:\n").startswith("main.py:3: syntax error in Python 3")


def test_a_broken_file_in_a_folder_that_nothing_calls_is_a_warning():
    """
    It may be a template.
    """
    warning = warned("", **{"templates/bad": "def f(:\n"})["syntax-error"]

    assert warning.startswith("templates/bad.py:1: syntax error in Python 3")
    assert warning.endswith("; it cannot be imported")


def test_an_unknown_integration_names_the_nearest():
    """
    At the line of the key.
    """
    text = "  connections:\n    - name: crm\n      integration: saleforce\n"

    assert check(text) == (
        "ninelives.yaml:6: connection 'crm' is of the unknown integration 'saleforce'; did you mean 'salesforce'?"
    )


def test_an_unknown_connection_names_the_nearest():
    """
    A trigger that listens to nothing would never fire.
    """
    text = (
        "  connections: [{name: crm, integration: salesforce}]\n  triggers:\n"
        "    - name: a\n      connection: crn\n"
    )

    assert check(text) == (
        "ninelives.yaml:7: trigger 'a' listens to the unknown connection 'crn'; did you mean 'crm'?"
    )


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("dat.x == 1", "undeclared reference to 'dat"),
        ("data.x +", "yntax error"),
        ("'text'", "yields string"),
    ],
    ids=range(3),
)
def test_a_wrong_filter_is_an_error_in_the_compilers_words(expression: str, message: str):
    """
    The real compiler judges it.
    """
    text = f'  triggers:\n    - name: a\n      type: webhook\n      filter: "{expression}"\n'

    found = check(text)

    assert found.startswith("ninelives.yaml:7: the filter of trigger 'a': ")
    assert message in found


def test_what_is_odd_is_a_warning_with_its_rule():
    """
    It can be deployed, and may not do what was meant.
    """
    text = (
        "  vars: [{name: KEY, value: ''}]\n"
        "  triggers:\n"
        "    - {name: a, type: webhook}\n"
        "    - {name: b, schedule: 0 3 * * * 2027}\n"
        "    - {name: c, schedule: 0 0 30 2 *}\n"
    )
    found = warned(text, unreachable="it is at home", requirements="ninelives\nrequests==2.32.4 # why\n")

    assert found == {
        "empty-variable": "ninelives.yaml:4: variable KEY has no value yet; set it with `ninelives var set p KEY …`",
        "webhook-unreachable": "ninelives.yaml:6: webhook 'a' cannot be called from outside: it is at home",
        "six-field-schedule": (
            "ninelives.yaml:7: the schedule '0 3 * * * 2027' has 6 fields: the first is the minute and the sixth the "
            "year; it runs next 2027-01-01 03:00 UTC, 2027-01-02 03:00 UTC, 2027-01-03 03:00 UTC; write 5 fields, or "
            "7 with seconds first"
        ),
        "no-more-times": found["no-more-times"],
        "included-requirement": (
            "requirements.txt:1: ninelives is there anyway, because sessions get this server's own; this line "
            "leaves its version as it is"
        ),
    }
    assert found["no-more-times"].startswith(
        "ninelives.yaml:8: trigger 'c': the schedule '0 0 30 2 *' never happens after "
    )


def test_a_project_without_triggers_is_warned_about():
    """
    Nothing would ever start it.
    """
    assert set(warned("")) == {"no-triggers"}


CLIENTS = """
from autokitteh import subscribe
from autokitteh.slack import slack_client as make
from ninelives import salesforce
import autokitteh.github

def on_lead(event):
    make("chatt")
    make(event.data.name)
    salesforce.client("crm")
    autokitteh.github.github_client("org_chat")
    subscribe("hook")
    subscribe("hok")
    other("nothing")
"""


def test_connections_that_the_code_names_must_be_there():
    """
    By their helpers, under whatever name they were imported; what is computed nobody can know.
    """
    text = (
        "  connections: [{name: chat, integration: slack}, {name: crm, integration: salesforce}]\n"
        "  triggers: [{name: hook, type: webhook}]\n"
    )
    found = [f for f in findings(text, uses=CLIENTS) if f.rule == "undeclared-connection"]

    assert [str(f) for f in found] == [
        "uses.py:8: slack_client('chatt'): the manifest has no such connection; did you mean 'chat'?",
        "uses.py:13: subscribe('hok'): the manifest has no such connection or trigger; did you mean 'hook'?",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-r other.txt", "'-r other.txt' is an option; list the packages themselves"),
        ("re quests", "'re quests' names no package: "),
        ("requests=>2", "'requests=>2' names no package: "),
    ],
    ids=range(3),
)
def test_a_line_of_requirements_that_names_no_package_is_an_error(line: str, message: str):
    """
    With its own number, whatever comments and continued lines stand before it.
    """
    found = check("", requirements=f"# first\nhttpx \\\n  ==0.28\n{line}\n")

    assert found.startswith(f"requirements.txt:4: {message}")


def test_a_large_project_is_warned_about():
    """
    AutoKitteh refuses it; here it only takes longer.
    """
    assert "1,0" in warned("  triggers: [{name: a, type: webhook}]\n", big="#" * 1_000_001)["project-size"]
