"""Pages of projects."""

import factories
import pytest
from site_world import Site

from ninelives_server.model.projects import DeploymentState


async def test_an_empty_server_says_the_next_step(site: Site):
    """
    The first page that anybody sees tells what to do.
    """
    html = await site.text("/")

    assert "No projects yet" in html
    assert "ninelives init first &amp;&amp; ninelives deploy first" in html


async def test_a_project_is_made_by_its_name_alone(site: Site):
    """
    No code, no manifest; its overview then lists what is still to do.
    """
    html = await site.after(await site.post("/projects", name=" crm_sync "))

    assert "Project crm_sync is made" in html
    assert "Authorise the connections" in html
    assert "ninelives deploy --project crm_sync" in html


async def test_an_address_that_was_shortened_leads_to_the_list(site: Site):
    """
    `/projects` is what remains of a project's address; the list itself is the first page.
    """
    html = await site.after(await site.get("/projects"))

    assert "<h1>Projects</h1>" in html


async def test_a_message_is_shown_once(site: Site):
    """
    Loading the page again does not repeat what a form came to.
    """
    answer = await site.post("/projects", name="crm_sync")
    first = await site.text(answer.headers["location"])
    second = await site.text(answer.headers["location"])

    assert "is made" in first
    assert "is made" not in second


@pytest.mark.parametrize("name", ["", "a b", "lead_router"])
async def test_a_name_that_cannot_be_used_is_shown_again_with_the_reason(site: Site, name: str):
    """
    Nothing that was typed is lost.
    """
    await site.project("lead_router")

    answer = await site.post("/projects", name=name)

    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text
    assert f'value="{name}"' in answer.text


async def test_a_connection_that_a_manifest_brought_says_so_wherever_the_project_is_shown(site: Site):
    """
    In the list of projects, on the overview and in the list of connections.
    """
    project, _ = await site.project()
    connection = await factories.a_connection(site.services.store, project, name="crm")
    edit = f"/connections/{connection.id}/edit"

    home = await site.text("/")
    overview = await site.text("/projects/lead_router")
    listed = await site.text("/projects/lead_router/connections")

    for html in (home, overview, listed):
        assert "needs initialising" in html
    assert edit in overview
    assert edit in listed


async def test_variables_are_set_and_secrets_are_never_shown_again(site: Site):
    """
    The value of a secret is in no page, not even the one that answers its form.
    """
    await site.project()
    path = "/projects/lead_router/variables"

    plain = await site.after(await site.post(path, name="CHANNEL", value="#sales", description="where"))
    secret = await site.after(await site.post(path, name="API_KEY", value="hush-hush", is_secret="true"))
    gone = await site.after(await site.post(f"{path}/CHANNEL/delete"))

    assert "#sales" in plain
    assert "secret, set" in secret
    assert "hush-hush" not in secret
    assert "#sales" not in gone


async def test_a_variable_name_that_cannot_be_used_is_refused_in_words(site: Site):
    """
    The page comes back with the reason.
    """
    await site.project()

    html = await site.after(await site.post("/projects/lead_router/variables", name="9 lives", value="x"))

    assert "flash bad" in html


async def test_deployments_are_deactivated_activated_and_deleted(site: Site):
    """
    Deleting is offered only where nothing would break.
    """
    _, build = await site.project()
    [deployment] = await site.services.projects.deployments(site.actor, "lead_router")
    path = f"/deployments/{deployment.id}"

    active = await site.text("/projects/lead_router/deployments")
    inactive = await site.after(await site.post(f"{path}/deactivate"))
    again = await site.after(await site.post(f"{path}/activate"))
    await site.post(f"{path}/deactivate")
    [now] = await site.services.projects.deployments(site.actor, "lead_router")
    gone = await site.after(await site.post(f"{path}/delete", project_id=build.project_id))

    assert f"{path}/delete" not in active
    assert f"{path}/activate" in inactive
    assert f"{path}/deactivate" in again
    assert now.state is DeploymentState.INACTIVE
    assert "No deployments found" in gone


async def test_code_runs_from_a_form_with_json_inputs(site: Site):
    """
    The answer is the new session's page, whose event holds the inputs.
    """
    await site.project()

    form = await site.text("/projects/lead_router/run")
    answer = await site.post(
        "/projects/lead_router/run", entrypoint="main.py:on_lead", inputs='{"lead": "Ada"}', is_durable="true"
    )
    [session] = (await site.services.sessions.list(site.actor)).items
    detail = await site.services.events.get(site.actor, session.event_id)

    assert 'value="main.py:on_lead"' in form
    assert answer.headers["location"] == f"/sessions/{session.id}"
    assert session.is_durable
    assert detail.data == {"lead": "Ada"}


@pytest.mark.parametrize(
    ("inputs", "entrypoint", "reason"),
    [
        ("{", "main.py:on_lead", "no JSON"),
        ("[1]", "main.py:on_lead", "must be a JSON object"),
        ("{}", "main.py:on_load", "main.py:on_lead"),
    ],
)
async def test_what_cannot_run_is_shown_again_with_the_reason(
    site: Site, inputs: str, entrypoint: str, reason: str
):
    """
    The form keeps what was typed, and names the nearest entry point.
    """
    await site.project()

    answer = await site.post("/projects/lead_router/run", entrypoint=entrypoint, inputs=inputs)

    assert answer.status_code == 422
    assert reason in answer.text
    assert f'value="{entrypoint}"' in answer.text


async def test_without_a_deployment_the_run_page_says_how_to_deploy(site: Site):
    """
    An empty list of entry points would explain nothing.
    """
    await site.post("/projects", name="empty")

    assert "No deployment is active" in await site.text("/projects/empty/run")


async def test_retention_is_saved_and_a_project_is_deleted(site: Site):
    """
    Both by forms of the overview.
    """
    await site.project()

    saved = await site.after(
        await site.post("/projects/lead_router/retention", sessions="7", events="0", logs="3")
    )
    gone = await site.after(await site.post("/projects/lead_router/delete"))

    assert 'name="sessions" type="number" value="7"' in saved
    assert "Project lead_router is deleted" in gone
    assert await site.services.projects.list(site.actor) == []


async def test_the_list_shows_how_the_last_sessions_went(site: Site):
    """
    As marks, with the same in words for those who do not see them.
    """
    project, _ = await site.project()
    session = await site.session(project)
    await site.end(session.id, await site.claim(session.id))

    html = await site.text("/")

    assert "Last 1 sessions, oldest first: completed" in html
