"""
Variables in a plan: an empty value never overwrites one that is set.
"""

from making import MANIFEST, a_bundle

from ninelives_server.model.actors import Actor
from ninelives_server.projects.service import Projects


async def test_a_value_that_somebody_set_is_not_emptied(projects: Projects, ada: Actor):
    """
    The trap of AutoKitteh: a manifest's empty secret wipes the real one at each deploy.
    """
    await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    await projects.set_variable(ada, "lead_router", "API_KEY", "s3cret", is_secret=True)

    again = await projects.deploy(ada, bundle=a_bundle(MANIFEST))
    other = await projects.deploy(ada, bundle=a_bundle(MANIFEST.replace(", secret: true", "")))

    assert not again.changed
    assert not [w for w in again.warnings if "API_KEY" in w]
    [key, _] = await projects.variables(ada, "lead_router")
    assert (key.name, key.is_secret, key.value, key.is_set) == ("API_KEY", True, None, True)
    assert not [a for a in other.actions if "API_KEY" in a]


async def test_a_value_in_the_manifest_wins(projects: Projects, ada: Actor):
    """
    It is what the project's author wants, as in AutoKitteh.
    """
    await projects.deploy(ada, bundle=a_bundle(MANIFEST))

    result = await projects.deploy(ada, bundle=a_bundle(MANIFEST.replace('"#sales"', '"#other"')))

    assert "change variable CHANNEL" in result.actions
    assert (await projects.variables(ada, "lead_router"))[1].value == "#other"
