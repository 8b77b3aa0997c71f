"""
Whether a manifest agrees with the code beside it, with the integrations of this server and with its filters.
"""

import pytest
from making import MAIN, tar_of

from ninelives_server.errors import Invalid
from ninelives_server.events.filters import Filters
from ninelives_server.projects import bundles, checks, code, manifest
from ninelives_server.projects.checks import Surroundings

HEAD = "version: v1\nproject:\n  name: p\n"


def check(lines: str, *, connections=("org_chat",), **files: str) -> str:
    bundle = bundles.read(tar_of({"main.py": MAIN, **{f"{k}.py": v for k, v in files.items()}}))
    around = Surroundings(
        integrations={"salesforce", "slack"}, connections=set(connections), filters=Filters()
    )
    parsed = manifest.parse(HEAD + lines, "ninelives.yaml")
    try:
        checks.check(parsed, bundle, code.scan(bundle), around)
    except Invalid as error:
        return str(error)
    return ""


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
        ("'main.py:'", "trigger 'on-lead' calls 'main.py:', which is not of the form file.py:function"),
        (
            "empty.py:f",
            "trigger 'on-lead' calls empty.py:f, which does not exist; empty.py has no function or class",
        ),
    ],
    ids=range(7),
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
    assert a_call("bad.py:f", bad="x = 1\ndef f(:\n").startswith("bad.py:2: ")


def test_a_broken_file_that_nothing_calls_is_a_warning():
    """
    It may be a template.
    """
    bundle = bundles.read(tar_of({"bad.py": "def f(:\n"}))

    [warning] = checks.warnings(code.scan(bundle))

    assert warning.startswith("bad.py:1: ")
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
