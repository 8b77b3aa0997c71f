"""
`project lint`: every rule, with its severity, and the documentation of them.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from making import MAIN, tar_of

from ninelives_server.events.filters import Filters
from ninelives_server.projects import lint, rules
from ninelives_server.projects.checks import Surroundings

AROUND = Surroundings(
    integrations={"salesforce"},
    connections=set(),
    filters=Filters(),
    now=datetime(2026, 11, 28, tzinfo=UTC),
    unreachable="it is at home",
)

#: For each rule a directory that breaks it.
BROKEN: dict[str, dict[str, str | bytes]] = {
    "bundle": {"../x": ""},
    "manifest-missing": {},
    "manifest-unreadable": {"ninelives.yaml": "a: [\n"},
    "manifest-ignored": {"ninelives.yaml": "project: {name: p}\n", "autokitteh.yaml": ""},
    "unknown-key": {"ninelives.yaml": "proj: {}\n"},
    "manifest-value": {"ninelives.yaml": "project: []\n"},
    "ignored-key": {
        "ninelives.yaml": "project: {triggers: [{name: a, schedule: '@daily', is_sync: true}]}\n"
    },
    "missing-version": {"autokitteh.yaml": "project: {name: p}\n"},
    "missing-project-name": {"ninelives.yaml": "project: {}\n"},
    "malformed-name": {"ninelives.yaml": "project: {connections: [{name: a-b, integration: x}]}\n"},
    "duplicate-name": {"ninelives.yaml": "project: {vars: [{name: a}, {name: a}]}\n"},
    "unknown-integration": {"ninelives.yaml": "project: {connections: [{name: a, integration: x}]}\n"},
    "unknown-connection": {"ninelives.yaml": "project: {triggers: [{name: a, connection: x}]}\n"},
    "undeclared-connection": {
        "ninelives.yaml": "project: {name: p}\n",
        "main.py": "from autokitteh.slack import slack_client\nslack_client('x')\n",
    },
    "empty-variable": {"ninelives.yaml": "project: {vars: [{name: a}]}\n"},
    "no-triggers": {"ninelives.yaml": "project: {name: p}\n"},
    "trigger-type": {"ninelives.yaml": "project: {triggers: [{name: a}]}\n"},
    "bad-schedule": {"ninelives.yaml": "project: {triggers: [{name: a, schedule: '1 2'}]}\n"},
    "six-field-schedule": {"ninelives.yaml": "project: {triggers: [{name: a, schedule: 1 2 * * * *}]}\n"},
    "no-more-times": {"ninelives.yaml": "project: {triggers: [{name: a, schedule: 0 0 30 2 *}]}\n"},
    "bad-filter": {"ninelives.yaml": "project: {triggers: [{name: a, type: webhook, filter: 'x +'}]}\n"},
    "bad-call": {"ninelives.yaml": "project: {triggers: [{name: a, type: webhook, call: x}]}\n"},
    "file-not-found": {"ninelives.yaml": "project: {triggers: [{name: a, type: webhook, call: 'x.py:f'}]}\n"},
    "handler-not-found": {
        "ninelives.yaml": "project: {triggers: [{name: a, type: webhook, call: 'main.py:f'}]}\n",
        "main.py": MAIN,
    },
    "syntax-error": {
        "ninelives.yaml": "project: {triggers: [{name: a, type: webhook, call: 'main.py:f'}]}\n",
        "main.py": "def (",
    },
    "webhook-unreachable": {"ninelives.yaml": "project: {triggers: [{name: a, type: webhook}]}\n"},
    "project-size": {"ninelives.yaml": "project: {name: p}\n", "data.csv": "x" * 1_000_001},
    "bad-requirement": {"requirements.txt": "a b c\n"},
    "included-requirement": {"requirements.txt": "ninelives\n"},
}


def test_every_rule_has_a_case():
    """
    One that is not here cannot be told from one that never speaks.
    """
    assert sorted(BROKEN) == sorted(rules.RULES)


@pytest.mark.parametrize("rule", BROKEN)
def test_each_rule_is_reported_with_its_severity(rule: str):
    """
    And everything that is reported is a rule that is documented.
    """
    found = lint.lint(tar_of(BROKEN[rule]), AROUND)

    assert {f.severity for f in found if f.rule == rule} == {rules.RULES[rule][0]}
    assert {f.rule for f in found} <= set(rules.RULES)


def test_a_directory_that_is_right_has_no_findings():
    """
    Nothing is said about what is as it should be.
    """
    text = "project:\n  name: p\n  triggers: [{name: a, schedule: '@daily', call: main.py:on_lead}]\n"

    assert lint.lint(tar_of({"ninelives.yaml": text, "main.py": MAIN}), AROUND) == []


def test_a_name_given_at_the_command_needs_none_in_the_manifest():
    """
    `--project` names it.
    """
    text = "project: {triggers: [{name: a, schedule: '@daily'}]}\n"

    assert lint.lint(tar_of({"ninelives.yaml": text}), AROUND, named=True) == []


def test_every_rule_is_documented():
    """
    docs/reference/lint.md has a row for each, with its severity.
    """
    page = (Path(__file__).parents[2] / "docs/reference/lint.md").read_text()

    for rule, (severity, meaning) in rules.RULES.items():
        assert f"| `{rule}` | {severity} | {meaning} |" in page
