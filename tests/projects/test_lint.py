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
    "event-type": {"ninelives.yaml": "project: {triggers: [{name: a, webhook: {}, event_type: POST}]}\n"},
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

_DAILY = "project: {name: p, triggers: [{name: a, schedule: '@daily'}]}\n"
_CALLS = "project: {name: p, triggers: [{name: a, schedule: '@daily', call: 'main.py:on_lead'}]}\n"

#: For each rule the same, mended: what keeps it.
MENDED: dict[str, dict[str, str | bytes]] = {
    "bundle": {"x": ""},
    "manifest-missing": {"ninelives.yaml": _DAILY},
    "manifest-unreadable": {"ninelives.yaml": _DAILY},
    "manifest-ignored": {"ninelives.yaml": _DAILY, "autokitteh.yaml.user": ""},
    "unknown-key": {"ninelives.yaml": "project: {}\n"},
    "manifest-value": {"ninelives.yaml": "project: {name: p}\n"},
    "ignored-key": {"ninelives.yaml": "project: {triggers: [{name: a, type: webhook, is_sync: true}]}\n"},
    "missing-version": {"autokitteh.yaml": "version: v2\nproject: {name: p}\n"},
    "missing-project-name": {"ninelives.yaml": "project: {name: p}\n"},
    "malformed-name": {"ninelives.yaml": "project: {connections: [{name: a_b, integration: x}]}\n"},
    "duplicate-name": {"ninelives.yaml": "project: {vars: [{name: a}, {name: A}]}\n"},
    "unknown-integration": {
        "ninelives.yaml": "project: {connections: [{name: a, integration: salesforce}]}\n"
    },
    "unknown-connection": {
        "ninelives.yaml": "project: {connections: [{name: x, integration: salesforce}], "
        "triggers: [{name: a, connection: x}]}\n"
    },
    "undeclared-connection": {
        "ninelives.yaml": "project: {connections: [{name: x, integration: salesforce}]}\n",
        "main.py": "from autokitteh.slack import slack_client\nslack_client('x')\n",
    },
    "empty-variable": {"ninelives.yaml": "project: {vars: [{name: a, value: 4}]}\n"},
    "no-triggers": {"ninelives.yaml": _DAILY},
    "trigger-type": {"ninelives.yaml": "project: {triggers: [{name: a, webhook: {}}]}\n"},
    "bad-schedule": {"ninelives.yaml": "project: {triggers: [{name: a, schedule: '1 2 * * *'}]}\n"},
    "six-field-schedule": {"ninelives.yaml": "project: {triggers: [{name: a, schedule: '0 1 2 * * * *'}]}\n"},
    "no-more-times": {"ninelives.yaml": "project: {triggers: [{name: a, schedule: 0 0 29 2 *}]}\n"},
    "event-type": {"ninelives.yaml": "project: {triggers: [{name: a, webhook: {}, event_type: post}]}\n"},
    "bad-filter": {
        "ninelives.yaml": "project: {triggers: [{name: a, type: webhook, filter: 'data.x == 1'}]}\n"
    },
    "bad-call": {"ninelives.yaml": _CALLS, "main.py": MAIN},
    "file-not-found": {"ninelives.yaml": _CALLS, "main.py": MAIN},
    "handler-not-found": {"ninelives.yaml": _CALLS, "main.py": MAIN},
    "syntax-error": {"ninelives.yaml": _CALLS, "main.py": MAIN},
    "webhook-unreachable": {"ninelives.yaml": _DAILY},
    "project-size": {"ninelives.yaml": _DAILY, "data.csv": "x" * 990_000},
    "bad-requirement": {"requirements.txt": "a>=1; python_version > '3'\n"},
    "included-requirement": {"requirements.txt": "requests\n"},
}

#: The value that is wrong, and what to do about it where the rule alone does not say it.
SAYS: dict[str, tuple[str, ...]] = {
    "bundle": ("'../x'",),
    "manifest-missing": ("ninelives.yaml", "`ninelives init NAME`"),
    "manifest-unreadable": ("YAML",),
    "manifest-ignored": ("autokitteh.yaml", "ninelives.yaml"),
    "unknown-key": ("'proj'", "did you mean 'project'?"),
    "manifest-value": ("project", "`name: …`"),
    "ignored-key": ("'is_sync'",),
    "missing-version": ("'version: v1' or 'version: v2'",),
    "missing-project-name": ("'name'", "--project NAME"),
    "malformed-name": ("'a-b'", "letters, digits and _"),
    "duplicate-name": ("'a'", "line 1"),
    "unknown-integration": ("'x'", "there is salesforce"),
    "unknown-connection": ("'a'", "'x'"),
    "undeclared-connection": ("slack_client('x')",),
    "empty-variable": ("variable a", "`ninelives var set PROJECT a …`"),
    "no-triggers": ("`ninelives session start`",),
    "trigger-type": ("'a'", "'type: webhook'"),
    "bad-schedule": ("'1 2'", "cron has 5"),
    "six-field-schedule": ("'1 2 * * * *'", "write 5 fields, or 7"),
    "no-more-times": ("'0 0 30 2 *'",),
    "event-type": ("'a'", "'POST'", "'post'"),
    "bad-filter": ("'a'", "1:4"),
    "bad-call": ("'x'", "file.py:function"),
    "file-not-found": ("x.py:f", "there is no x.py"),
    "handler-not-found": ("main.py:f", "main.py has on_lead, on_open"),
    "syntax-error": ("invalid syntax", "Python 3."),
    "webhook-unreachable": ("'a'", "it is at home"),
    "project-size": ("1,000,020", "1,000,000"),
    "bad-requirement": ("'a b c'",),
    "included-requirement": ("ninelives",),
}


def test_every_rule_has_a_case():
    """
    One that is not here cannot be told from one that never speaks.
    """
    assert sorted(BROKEN) == sorted(MENDED) == sorted(SAYS) == sorted(rules.RULES)


@pytest.mark.parametrize("rule", MENDED)
def test_what_is_mended_keeps_the_rule(rule: str):
    """
    The nearest that is right is not reported.
    """
    assert [f for f in lint.lint(tar_of(MENDED[rule]), AROUND) if f.rule == rule] == []


@pytest.mark.parametrize("rule", SAYS)
def test_each_message_names_the_value_and_the_way_out(rule: str):
    """
    Who reads it needs to look nowhere else.
    """
    messages = [f.message for f in lint.lint(tar_of(BROKEN[rule]), AROUND) if f.rule == rule]

    assert all(part in messages[0] for part in SAYS[rule]), messages[0]


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
