"""
The manifest: what it may say, what each key means, and that each error names file, line, key and the way out.
"""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ninelives_server.errors import Invalid
from ninelives_server.model.triggers import TriggerType
from ninelives_server.projects import manifest
from ninelives_server.projects.problems import Problems

FULL = """\
version: v2                       # handlers are non-durable unless said otherwise
project:
  name: lead_router
  display_name: Lead router
  vars:
    - {name: CHANNEL, value: "#sales", description: where to announce}
    - {name: API_KEY, value: "", secret: true}
    - {name: LIMIT, value: 5}
    - {name: DEBUG, value: on}
    - {name: LATER}
  connections:
    - name: crm
      integration: salesforce
    - name: chat
      integration: slack
      vars: [{name: auth_type, value: socketMode}]
  triggers:
    - name: lead_changed
      type: connection
      connection: crm
      event_type: lead
      filter: data.ChangeEventHeader.changeType == "CREATE"
      call: main.py:on_lead
      is_durable: true
    - name: quote_api
      type: webhook
      event_type: post
      is_sync: true
      call: main.py:quote
    - name: old_hook
      webhook: {}
      call: main.py:hook
    - name: nightly
      type: schedule
      schedule: "0 3 * * *"
      call: main.py:cleanup
    - name: approvals
      connection: chat
      event_type: "*"
"""


def wrong(text: str, file: str = "ninelives.yaml") -> list[str]:
    with pytest.raises(Invalid) as caught:
        manifest.parse(text, file)
    return str(caught.value).splitlines()


def a_trigger(lines: str, version: str = "v2") -> manifest.ManifestTrigger:
    text = f"version: {version}\nproject:\n  name: p\n  triggers:\n    - name: t\n"
    text += "".join(f"      {line}\n" for line in lines.splitlines())
    return manifest.parse(text, "autokitteh.yaml").triggers[0]


@pytest.mark.parametrize("file", ["autokitteh.yaml", "ninelives.yaml"])
def test_an_autokitteh_manifest_is_read_unchanged(file: str):
    """
    Every key of AutoKitteh's manifest is understood, under both names.
    """
    problems = Problems()
    found = manifest.read(FULL, file, problems)

    assert (found.name, found.display_name, found.version) == ("lead_router", "Lead router", "v2")
    assert [(v.name, v.value, v.is_secret) for v in found.variables] == [
        ("CHANNEL", "#sales", False),
        ("API_KEY", "", True),
        ("LIMIT", "5", False),
        ("DEBUG", "on", False),
        ("LATER", "", False),
    ]
    assert [(c.name, c.integration) for c in found.connections] == [("crm", "salesforce"), ("chat", "slack")]
    assert found.connections[1].variables[0].value == "socketMode"
    assert [(t.name, t.type, t.event_type, t.is_durable, t.is_sync) for t in found.triggers] == [
        ("lead_changed", TriggerType.CONNECTION, "lead", True, False),
        ("quote_api", TriggerType.WEBHOOK, "post", False, True),
        ("old_hook", TriggerType.WEBHOOK, "", False, False),
        ("nightly", TriggerType.SCHEDULE, "", False, False),
        ("approvals", TriggerType.CONNECTION, "", False, False),
    ]
    assert problems.findings == []


@pytest.mark.parametrize(("version", "durable"), [("v1", True), ("v2", False)])
def test_the_version_decides_whether_sessions_are_durable(version: str, durable: bool):
    """
    v1 is durable and v2 is not, unless the trigger says otherwise; as in AutoKitteh.
    """
    assert a_trigger("type: webhook", version).is_durable is durable
    assert a_trigger(f"type: webhook\nis_durable: {not durable}", version).is_durable is not durable


def test_a_manifest_of_ours_needs_no_version_and_is_durable():
    """
    Durable is what this server is for; an autokitteh.yaml has to say what it means.
    """
    text = "project:\n  name: p\n  triggers:\n    - {name: t, type: webhook}\n"

    assert manifest.parse(text, "ninelives.yaml").triggers[0].is_durable
    assert wrong(text, "autokitteh.yaml") == [
        "autokitteh.yaml:1: the manifest has no 'version'; write 'version: v1' or 'version: v2'"
    ]


def test_a_time_zone_and_retention_are_our_own_keys():
    """
    The superset: what AutoKitteh's manifest cannot say.
    """
    text = (
        "project:\n  name: p\n  retention: {sessions: 7, events: 0}\n  triggers:\n"
        "    - {name: t, schedule: '@daily', timezone: Europe/Berlin}\n"
    )

    found = manifest.parse(text, "ninelives.yaml")

    assert found.retention == {"sessions": 7, "events": 0}
    assert found.triggers[0].timezone == "Europe/Berlin"
    assert a_trigger("schedule: '@daily'").timezone == "UTC"


def test_an_unknown_key_names_its_line_and_the_nearest_known_key():
    """
    A typo does not pass silently.
    """
    text = FULL.replace("event_type: lead", "evnt_type: lead")

    assert wrong(text) == [
        "ninelives.yaml:21: unknown key 'evnt_type' in a trigger; did you mean 'event_type'?"
    ]


def test_all_errors_are_told_at_once():
    """
    In the order of their lines.
    """
    text = "version: v3\nproject:\n  names: x\n  vars: 5\n  triggers:\n    - {is_sync: maybe}\n"

    assert wrong(text) == [
        "ninelives.yaml:1: 'version' must be one of v1, v2, not 'v3'",
        "ninelives.yaml:3: unknown key 'names' in the project; did you mean 'name'?",
        "ninelives.yaml:4: 'vars' must be a list, each item after a dash",
        "ninelives.yaml:6: 'is_sync' must be true or false, not 'maybe'",
        "ninelives.yaml:6: a trigger has no 'name'",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ninelives.yaml:1: is empty"),
        ("# nothing", "ninelives.yaml:1: is empty"),
        ("project: [", "ninelives.yaml:1: is no YAML: expected the node content, but found '<stream end>'"),
        ("a: 1\n---\nb: 2", "ninelives.yaml:2: is no YAML: but found another document"),
        ("just text", "ninelives.yaml:1: the manifest must be a mapping, such as `version: …`"),
        ("- a", "ninelives.yaml:1: the manifest must be a mapping, such as `version: …`"),
        ("version: v1", "ninelives.yaml:1: the manifest has no 'project'"),
        ("project:", "ninelives.yaml:1: the manifest has no 'project'"),
        (
            "project: {name: a b}",
            "ninelives.yaml:1: 'name' must be 1 to 100 letters, digits, _ and -, not 'a b'",
        ),
        ("project: {name: [a]}", "ninelives.yaml:1: 'name' must be a single value"),
        (
            "project: {name: a}\nproject: {}",
            "ninelives.yaml:2: 'project' is given twice in the manifest, first in line 1",
        ),
        (
            "project: {1: 2}",
            "ninelives.yaml:1: unknown key '1' in the project; there is connections, display_name, limits, max_concurrent, name, retention, triggers, vars",
        ),
        (
            "project: {[a]: 2}",
            "ninelives.yaml:1: unknown key '?' in the project; there is connections, display_name, limits, max_concurrent, name, retention, triggers, vars",
        ),
        ("project: &a {<<: [*a, *a]}", "ninelives.yaml:1: is nested too deeply, or has too many aliases"),
        ("project: {<<: 5}", "ninelives.yaml:1: only mappings can be merged"),
        (
            "\x00",
            "ninelives.yaml:1: is no YAML: unacceptable character #x0000: special characters are not allowed",
        ),
        (
            "project: {retention: {logs: -1}}",
            "ninelives.yaml:1: 'logs' must be a whole number from 0 to 36500, not '-1'",
        ),
        (
            "project: {vars: [{name: 'A B'}]}",
            "ninelives.yaml:1: 'name' must be 1 to 200 characters without = and white space, not 'A B'",
        ),
        (
            "project: {connections: [{name: a-b, integration: x}]}",
            "ninelives.yaml:1: 'name' must be 1 to 100 letters, digits and _, because variables of sessions begin with it, not 'a-b'",
        ),
        ("project: {connections: [{name: ab}]}", "ninelives.yaml:1: a connection 'ab' has no 'integration'"),
    ],
    ids=range(20),
)
def test_what_is_no_manifest_says_where_and_why(text: str, message: str):
    """
    Whatever is in the file, the answer is a line and a sentence.
    """
    assert [line for line in wrong(text) if line.startswith(message)]


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        (
            "event_type: x",
            5,
            "trigger 't' has no 'type'; give it a 'schedule', a 'connection' or 'type: webhook'",
        ),
        (
            "schedule: '@daily'\nconnection: c",
            6,
            "trigger 't' has 'connection' and 'schedule'; it can have only one",
        ),
        ("type: webhook\nschedule: '@daily'", 6, "trigger 't' is a webhook but has 'schedule'"),
        ("type: schedule", 5, "trigger 't' is a schedule and has no 'schedule'"),
        ("type: schedule\nschedule: ''", 7, "trigger 't' is a schedule and has no 'schedule'"),
        ("type: connection", 5, "trigger 't' is a connection and has no 'connection'"),
        ("type: cron", 6, "'type' must be one of schedule, webhook, connection, not 'cron'"),
        (
            "schedule: every day",
            6,
            "the schedule 'every day' has 2 fields; cron has 5, 6 with a year, 7 with seconds",
        ),
        ("schedule: '* * * * $'", 6, "the weekday '$' of the schedule is no number from 0 to 7"),
        ("schedule: '@sometimes'", 6, "the schedule '@sometimes' is not known"),
        (
            "schedule: '@daily'\ntimezone: Europe/Berln",
            7,
            "there is no time zone 'Europe/Berln'; use a name such as",
        ),
        ("type: webhook\ntimezone: UTC", 7, "'timezone' is for triggers with a 'schedule' only"),
        ("webhook: {path: x}", 6, "unknown key 'path' in a webhook"),
    ],
    ids=range(13),
)
def test_a_trigger_that_makes_no_sense_names_its_line(lines: str, line: int, message: str):
    """
    The line is that of the key, or of the trigger where a key is missing.
    """
    with pytest.raises(Invalid) as caught:
        a_trigger(lines)

    assert str(caught.value).splitlines()[0].startswith(f"autokitteh.yaml:{line}: {message}")


def test_the_nearest_time_zone_is_named():
    """
    People write them by heart.
    """
    with pytest.raises(Invalid, match=re.escape("did you mean 'Europe/Berlin'?")):
        a_trigger("schedule: '@daily'\ntimezone: Europe/Berln")


@pytest.mark.parametrize(
    "schedule",
    [
        "0 3 * * *",
        "*/5 9-17 * * MON-FRI",
        "0 0 1 1 * 2027",
        "30 0 3 * * * *",
        "@every 1h30m",
        "@hourly",
        "CRON_TZ=Europe/Berlin 0 3 * * *",
    ],
)
def test_schedules_in_all_known_forms_are_taken(schedule: str):
    """
    5, 6 and 7 fields, nicknames and intervals, as Temporal and AutoKitteh take them.
    """
    assert a_trigger(f"schedule: {json.dumps(schedule)}").schedule == schedule


@pytest.mark.parametrize(
    ("kind", "item"),
    [
        ("var", "{name: X}"),
        ("connection", "{name: X, integration: s}"),
        ("trigger", "{name: X, type: webhook}"),
    ],
)
def test_a_name_that_comes_twice_names_both_lines(kind: str, item: str):
    """
    The second one would silently win otherwise.
    """
    text = f"project:\n  name: p\n  {kind}s:\n    - {item}\n    - {item}\n"
    what = "variable" if kind == "var" else kind

    assert wrong(text) == [f"ninelives.yaml:5: there are two {what}s 'X'; the first is in line 4"]


def test_a_sync_trigger_that_is_no_webhook_is_only_warned_about():
    """
    AutoKitteh takes it, so an existing project may have it.
    """
    text = "version: v1\nproject:\n  name: p\n  triggers:\n    - name: t\n      schedule: '@daily'\n      is_sync: true\n"

    problems = Problems()
    found = manifest.read(text, "autokitteh.yaml", problems)

    assert not found.triggers[0].is_sync
    assert tuple(str(warning) for warning in problems.warnings) == (
        "autokitteh.yaml:7: 'is_sync' is for webhooks only; it is ignored",
    )


def test_anchors_and_merged_keys_work():
    """
    YAML's own means against repetition; own keys win over merged ones.
    """
    text = (
        "project:\n  name: p\n  triggers:\n"
        "    - &base {name: a, type: webhook, call: main.py:f}\n    - {<<: *base, name: b, event_type: post}\n"
    )

    found = manifest.parse(text, "ninelives.yaml")

    assert [(t.name, t.call, t.event_type) for t in found.triggers] == [
        ("a", "main.py:f", ""),
        ("b", "main.py:f", "post"),
    ]


def test_a_small_file_cannot_become_a_large_one():
    """
    Aliases of aliases ("billion laughs") end in an error, quickly.
    """
    merged = ["  - &a0 {name: x}"]
    merged += [f"  - &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 15)]
    long = "[" + ", ".join(["*v"] * 1000) + "]"

    for text in (
        "project:\n  vars:\n" + "\n".join(merged),
        f"project:\n  vars: [&v {{name: x, <<: &w {{value: y}}}}]\n  connections: {long}\n  triggers: {long}",
        "project:\n  vars: &l ["
        + ", ".join(["{name: x}"] * 1000)
        + "]\n  connections: ["
        + ", ".join(["{name: c, integration: s, vars: *l}"] * 1000)
        + "]",
    ):
        assert len(wrong(text)) >= 1


def test_a_document_for_people_holds_no_value_of_a_secret():
    """
    The manifest is kept with the build, in the open.
    """
    text = (
        "project:\n  name: p\n  vars: [{name: A, value: shown}, {name: B, value: hidden, secret: true}]\n"
        "  connections: [{name: c, integration: s, vars: [{name: D, value: hidden, secret: true}]}]\n"
    )

    found = manifest.parse(text, "ninelives.yaml")

    assert "hidden" not in json.dumps(manifest.to_json(found))
    assert "hidden" not in repr(found)
    assert manifest.to_json(found)["project"]["vars"][0]["value"] == "shown"


def test_the_published_schema_is_a_schema():
    """
    Editors use it.
    """
    jsonschema.Draft202012Validator.check_schema(manifest.schema())


def test_the_published_schema_takes_what_we_take():
    """
    A full manifest is right for both.
    """
    jsonschema.validate(yaml.safe_load(FULL), manifest.schema())


KEYS = [
    "name",
    "type",
    "schedule",
    "webhook",
    "connection",
    "event_type",
    "call",
    "is_durable",
    "evnt",
    "vars",
]
VALUES = st.one_of(
    st.booleans(), st.integers(-5, 5), st.sampled_from(["x", "v1", "", "a b"]), st.just([]), st.just({})
)


@given(
    st.fixed_dictionaries(
        {
            "project": st.fixed_dictionaries(
                {"triggers": st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES))}
            )
        }
    )
)
def test_what_the_published_schema_refuses_we_refuse(value):
    """
    The schema is understood as others understand it, but for scalars, which count as text for us.
    """
    texts = {"name", "type", "schedule", "connection", "event_type", "call"}
    as_text = {
        "project": {
            "triggers": [
                {
                    key: str(item) if key in texts and isinstance(item, int) else item
                    for key, item in trigger.items()
                }
                for trigger in value["project"]["triggers"]
            ]
        }
    }
    is_right = jsonschema.Draft202012Validator(manifest.schema()).is_valid(as_text)

    if not is_right:
        with pytest.raises(Invalid, match=r"^ninelives.yaml:\d+: "):
            manifest.parse(json.dumps(value), "ninelives.yaml")


@given(st.text(max_size=200))
def test_no_text_makes_the_parser_fall_over(text: str):
    """
    Whatever the file holds, the answer is a manifest or an error with a line.
    """
    try:
        manifest.parse(text, "ninelives.yaml")
    except Invalid as error:
        assert re.match(r"ninelives.yaml:\d+: ", str(error))


def test_every_key_is_documented():
    """
    The reference names each key of the schema.
    """
    page = (Path(__file__).parents[2] / "docs" / "reference" / "manifest.md").read_text()
    found = manifest.schema()
    keys = {*found["properties"]} | {key for d in found["$defs"].values() for key in d["properties"]}

    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


def test_limits_are_read_as_far_as_given():
    """
    What a session may use instead of the server's settings; 0 lifts a limit.
    """
    found = manifest.parse(
        "project:\n  name: p\n  limits: {memory_mb: 2048, wall_seconds: 0}\n", "ninelives.yaml"
    )

    assert found.limits == {"memory_mb": 2048, "wall_seconds": 0}
    assert manifest.to_json(found)["project"]["limits"] == found.limits
    assert manifest.parse("project: {name: p}\n", "ninelives.yaml").limits == {}


@pytest.mark.parametrize("value", ["-1", "99999999999", "much"])
def test_a_limit_that_is_none_is_refused(value: str):
    """
    With the line and what may stand there.
    """
    with pytest.raises(Invalid, match=r"ninelives.yaml:3: .*'memory_mb'"):
        manifest.parse(f"project:\n  name: p\n  limits: {{memory_mb: {value}}}\n", "ninelives.yaml")
