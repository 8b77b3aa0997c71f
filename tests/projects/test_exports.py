"""
`project export`: the code and a manifest of what is there, from which the same project can be made again.
"""

import io
import zipfile

import pytest
from making import MAIN, a_bundle, tar_of

from ninelives_server.errors import NotFound
from ninelives_server.model.actors import Actor
from ninelives_server.projects import manifest
from ninelives_server.projects.service import Projects

MANIFEST = """\
version: v1 # by hand
project:
  name: lead_router
  display_name: "Leads: routed"
  retention: {sessions: 7}
  limits: {memory_mb: 200}
  vars:
    - {name: CHANNEL, value: "#sales", description: where}
    - {name: API_KEY, value: hush, secret: true}
    - {name: LATER, value: ""}
  connections:
    - {name: crm, integration: salesforce, vars: [{name: region, value: eu}]}
  triggers:
    - {name: lead, connection: crm, event_type: lead, call: main.py:on_lead, filter: data.x == 1}
    - {name: hook, type: webhook, call: main.py:on_open, is_sync: true, is_durable: false}
    - {name: nightly, schedule: "0 3 * * *", timezone: Europe/Berlin, call: main.py:on_lead}
"""


async def exported(projects: Projects, actor: Actor, ref: str = "lead_router") -> dict[str, str]:
    _, packed = await projects.export(actor, ref)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


async def test_what_is_exported_makes_the_same_project_again(projects: Projects, ada: Actor):
    """
    Names, variables, connections, triggers, code: a second export says the same as the first.
    """
    await projects.deploy(ada, bundle=a_bundle(MANIFEST, **{"lib/more.py": "X = 1\n"}))
    first = await exported(projects, ada)
    await projects.delete(ada, "lead_router")

    again = await projects.deploy(ada, bundle=tar_of(first))

    assert await exported(projects, ada) == first
    assert first["main.py"] == MAIN
    assert first["lib/more.py"] == "X = 1\n"
    assert first["ninelives.yaml.user"] == MANIFEST
    assert not (await projects.deploy(ada, bundle=tar_of(first))).changed
    assert again.changed


async def test_the_manifest_is_v2_and_says_what_the_server_has(projects: Projects, ada: Actor):
    """
    Each trigger says whether it is durable; variables set by hand are there, values of secrets are not.
    """
    await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    await projects.set_variable(ada, "lead_router", "CHANNEL", "#other")

    text = (await exported(projects, ada))["ninelives.yaml"]

    found = manifest.parse(text, "ninelives.yaml")
    assert (found.version, found.display_name, found.retention["sessions"], found.limits) == (
        "v2",
        "Leads: routed",
        7,
        {"memory_mb": 200},
    )
    assert [(v.name, v.value, v.is_secret) for v in found.variables] == [
        ("API_KEY", "", True),
        ("CHANNEL", "#other", False),
        ("LATER", "", False),
    ]
    assert {t.name: (t.is_durable, t.is_sync, t.timezone) for t in found.triggers} == {
        "lead": (True, False, "UTC"),
        "hook": (False, True, "UTC"),
        "nightly": (True, False, "Europe/Berlin"),
    }
    assert [(v.name, v.value) for v in found.connections[0].variables] == [("region", "eu")]
    assert "hush" not in text


async def test_an_autokitteh_manifest_makes_way(projects: Projects, ada: Actor):
    """
    Two manifests beside each other would be one too many; its author's is kept under another name.
    """
    await projects.deploy(ada, bundle=tar_of({"autokitteh.yaml": MANIFEST, "main.py": MAIN}))

    assert sorted(await exported(projects, ada)) == ["autokitteh.yaml.user", "main.py", "ninelives.yaml"]


async def test_a_project_without_code_is_exported_too(projects: Projects, ada: Actor):
    """
    Made by hand, it has a manifest and nothing else.
    """
    await projects.create(ada, "bare")

    assert list(await exported(projects, ada, "bare")) == ["ninelives.yaml"]
    with pytest.raises(NotFound):
        await projects.export(ada, "nothing")
