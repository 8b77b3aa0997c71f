"""Who may do what, on every route of the OpenAPI document: a new route is walked without being named here."""

import pytest
from api_site import APP_SECRET, Site, Things, a_bundle, a_name

pytestmark = [pytest.mark.system]

#: Queries without which a route has no meaning.
QUERIES = {"/api/v1/events": {"project": "{project}"}}

#: Bodies for routes that change something; the walk fails for one that is not here.
BODIES = {
    ("POST", "/api/v1/projects"): {"json": {"name": "never_made"}},
    ("DELETE", "/api/v1/projects/{project}"): {},
    ("PUT", "/api/v1/projects/{project}/retention"): {"json": {"sessions": 7}},
    ("PUT", "/api/v1/projects/{project}/concurrency"): {"json": {"max_concurrent": 3}},
    ("PATCH", "/api/v1/triggers/{trigger_id}/limits"): {"json": {"max_concurrent": 3}},
    ("PUT", "/api/v1/projects/{project}/variables/{name}"): {"json": {"value": "x"}},
    ("DELETE", "/api/v1/projects/{project}/variables/{name}"): {},
    ("PUT", "/api/v1/projects/{project}/store/{key}"): {"json": {"value": "x"}},
    ("DELETE", "/api/v1/projects/{project}/store/{key}"): {},
    ("PUT", "/api/v1/projects/{project}/published-values/{key}"): {"json": {}},
    ("POST", "/api/v1/projects/{project}/sessions"): {"json": {"entrypoint": "main.py:on_open"}},
    ("POST", "/api/v1/deploys"): {"content": a_bundle("never_deployed")},
    ("POST", "/api/v1/deployments/{deployment_id}/activate"): {},
    ("POST", "/api/v1/deployments/{deployment_id}/test"): {},
    ("POST", "/api/v1/deployments/{deployment_id}/deactivate"): {},
    ("DELETE", "/api/v1/deployments/{deployment_id}"): {},
    ("POST", "/api/v1/connections"): {
        "json": {
            "project": "{project}",
            "name": "x",
            "integration": "salesforce",
            "settings": {"client_id": "3MVG9"},
            "secrets": {"client_secret": "s"},
        }
    },
    ("PATCH", "/api/v1/connections/{connection_id}"): {"json": {"name": "renamed"}},
    ("DELETE", "/api/v1/connections/{connection_id}"): {},
    ("POST", "/api/v1/connections/{connection_id}/authorise"): {},
    ("POST", "/api/v1/connections/{connection_id}/refresh"): {},
    ("POST", "/api/v1/connections/{connection_id}/revoke"): {},
    ("POST", "/api/v1/connections/{connection_id}/test"): {},
    ("POST", "/api/v1/events/{event_id}/redispatch"): {"json": {}},
    ("POST", "/api/v1/sessions/{session_id}/stop"): {"json": {}},
    ("POST", "/api/v1/sessions/{session_id}/fork"): {"json": {"from_step": 1}},
    ("POST", "/api/v1/login-links"): {"json": {}},
    ("POST", "/api/v1/tokens"): {"json": {"name": "never"}},
    ("DELETE", "/api/v1/tokens/{token_id}"): {},
    ("POST", "/api/v1/users"): {"json": {"name": "never"}},
}
#: POST because it has a body; it changes nothing.
QUESTIONS = {("POST", "/api/v1/events/verify-filter"), ("POST", "/api/v1/lints")}
#: A viewer may care for logins and tokens of their own.
OWN = {("POST", "/api/v1/login-links"), ("POST", "/api/v1/tokens"), ("DELETE", "/api/v1/tokens/{token_id}")}
LISTS = ["/projects", "/connections", "/sessions"]


def sent(operation, things, **options):
    """Return the options of a request that would be right for somebody who may."""
    method, path = operation
    found = dict(BODIES.get(operation, {}))
    if "json" in found:
        found["json"] = {k: things.path(v) if isinstance(v, str) else v for k, v in found["json"].items()}
    query = {name: things.path(value) for name, value in QUERIES.get(path, {}).items()}
    return {**found, **({"params": query} if query else {}), **options}


def walk(site: Site, things: Things, who, operations=None, **names):
    """Ask every route as somebody; return what each answered."""
    return {
        operation: site.ask(
            operation[0], things.path(operation[1], **names), who=who, **sent(operation, things)
        )
        for operation in operations or site.operations()
    }


def wrong(answers, *expected):
    """Name the operations that answered something else."""
    return [
        f"{method} {path}: {answer.status_code} {answer.text[:200]}"
        for (method, path), answer in answers.items()
        if answer.status_code not in expected
    ]


def changing(site):
    return [o for o in site.operations() if o[0] != "GET" and o not in QUESTIONS]


def test_every_route_that_changes_something_is_walked(site: Site):
    """
    A new route needs an entry in BODIES, or the walks below would not reach its authorisation.
    """
    assert sorted(changing(site)) == sorted(BODIES)


def test_without_credentials_every_route_answers_401(site: Site, things: Things):
    """
    And says so as a problem document with the header of RFC 9110, section 11.6.1.
    """
    answers = walk(site, things, None)

    assert len(answers) > 40
    assert wrong(answers, 401) == []
    assert {answer.json()["code"] for answer in answers.values()} == {"unauthenticated"}
    assert all(answer.headers["www-authenticate"].startswith("Bearer") for answer in answers.values())


def test_a_token_that_is_not_valid_opens_nothing(site: Site, things: Things):
    """
    Neither a made-up one nor a login cookie used as a token.
    """
    for secret in ("nl_nonsense", site.cookies["admin"]):
        headers = {"Authorization": f"Bearer {secret}"}

        assert site.ask("GET", "/projects", who=None, headers=headers).status_code == 401
        assert site.ask("DELETE", f"/projects/{things.project}", who=None, headers=headers).status_code == 401


def test_a_workers_token_is_good_for_the_worker_link_only(site: Site, things: Things):
    """
    A worker's host must not be able to act as a user.
    """
    assert wrong(walk(site, things, "worker"), 403) == []


def test_another_org_finds_nothing_by_id(site: Site, things: Things):
    """
    Not 403, which would say that it exists, and never data. Only lists and what is their own answer.
    """
    by_id = [o for o in site.operations() if "{" in o[1] or o[1] in QUERIES]
    by_id.append(("POST", "/api/v1/connections"))

    answers = walk(site, things, "stranger", by_id)

    assert wrong(answers, 404) == []


def test_another_org_finds_nothing_by_name(site: Site, things: Things):
    """
    Names are looked up in one's own org.
    """
    named = [o for o in site.operations() if "{project}" in o[1] or "{connection_id}" in o[1]]
    pair = f"{things.project_name}/crm".replace("/", "%2F")

    answers = walk(site, things, "stranger", named, project=things.project_name, connection_id=pair)

    assert wrong(answers, 404) == []


def test_another_orgs_lists_hold_nothing_of_the_first(site: Site, things: Things):
    """
    Whatever filters name; a project that is not theirs is not found.
    """
    stranger = {"who": "stranger"}

    theirs = {item["org_id"] for path in LISTS for item in site.get(path, **stranger)["items"]}
    ours = {item["org_id"] for path in LISTS for item in site.get(path)["items"]}
    assert len(ours) == 1
    assert not theirs & ours
    assert site.get("/sessions", params={"trigger_id": things.trigger_id}, **stranger)["items"] == []
    assert things.token_id not in {token["id"] for token in site.get("/tokens", **stranger)["items"]}
    for path in ("/connections", "/sessions", "/events"):
        for ref in (things.project, things.project_name):
            answer = site.ask("GET", path, params={"project": ref}, **stranger)
            assert answer.status_code == 404, f"{path}: {answer.text}"


def test_another_orgs_audit_log_is_its_own(site: Site, things: Things):
    """
    No row of the first org is in it. (Rows outlive their project, so an unknown id is no error there.)
    """
    by_id = site.get("/audit", who="stranger", params={"project": things.project})
    assert by_id["items"] == []
    rows = site.get("/audit", who="stranger", params={"limit": 500})["items"]

    # The stranger may have made projects of their own by now.
    theirs = {project["id"] for project in site.get("/projects", who="stranger", params={})["items"]}
    assert not [row for row in rows if row["actor"] == site.user_ids["admin"]]
    assert not [row for row in rows if row["project_id"] == things.project]
    assert things.project not in theirs


def test_two_orgs_may_use_the_same_name(site: Site):
    """
    And each sees its own project under it.
    """
    name = a_name()
    first = site.good(site.ask("POST", "/projects", json={"name": name}))
    second = site.good(site.ask("POST", "/projects", json={"name": name}, who="stranger"))

    assert first["id"] != second["id"]
    assert site.get(f"/projects/{name}", who="stranger")["id"] == second["id"]
    assert site.get(f"/projects/{name}")["id"] == first["id"]


def test_a_viewer_reads_and_changes_nothing(site: Site, things: Things):
    """
    403 on every route that changes something, but for logins and tokens of their own.
    """
    before = site.get("/audit", params={"project": things.project})["items"]

    answers = walk(site, things, "viewer", [o for o in changing(site) if o not in OWN])

    assert wrong(answers, 403) == []
    assert site.get(f"/projects/{things.project}", who="viewer")["name"] == things.project_name
    assert site.get("/audit", params={"project": things.project})["items"] == before


def test_a_viewer_cares_for_own_logins_and_tokens_only(site: Site, things: Things):
    """
    A token of one's own may be made; another's is not even seen, and no link is made for somebody else.
    """
    mine = site.good(site.ask("POST", "/tokens", json={"name": "mine"}, who="viewer"))
    visible = {token["id"] for token in site.get("/tokens", who="viewer")["items"]}

    assert mine["id"] in visible
    assert things.token_id not in visible
    assert site.ask("DELETE", f"/tokens/{things.token_id}", who="viewer").status_code == 404
    assert site.ask("POST", "/login-links", json={"user": "admin"}, who="viewer").status_code == 403
    assert site.ask("DELETE", f"/tokens/{mine['id']}", who="viewer").status_code == 204


def test_a_viewers_token_stays_a_viewers(site: Site):
    """
    The role is looked up with every request, and not written into the token.
    """
    made = site.good(site.ask("POST", "/tokens", json={"name": "mine"}, who="viewer"))
    headers = {"Authorization": f"Bearer {made['token']}"}

    answer = site.ask("POST", "/projects", json={"name": a_name()}, who=None, headers=headers)

    assert answer.status_code == 403


def test_a_token_to_read_changes_nothing(site: Site, things: Things):
    """
    Not even tokens or logins of its owner, an administrator: those would be a way around it.
    """
    answers = walk(site, things, "reader", changing(site))

    assert wrong(answers, 403) == []
    assert site.get(f"/projects/{things.project}", who="reader")["name"] == things.project_name


def test_a_token_to_read_reads_everything_that_needs_no_credential(site: Site, things: Things):
    """
    Running the checks of a connection uses its credential, so it needs a member; all else is open.
    """
    reads = [o for o in site.operations() if o[0] == "GET" and not o[1].endswith(("/doctor", "/watch"))]

    assert wrong(walk(site, things, "reader", reads), 200) == []


def test_a_member_works_but_does_not_make_users_or_workers(site: Site):
    """
    Roles include the ones below and nothing above.
    """
    assert site.ask("POST", "/projects", json={"name": a_name()}, who="member").status_code == 201
    assert site.ask("POST", "/users", json={"name": a_name("user")}, who="member").status_code == 403
    worker = {"name": "w", "scopes": ["worker"]}
    assert site.ask("POST", "/tokens", json=worker, who="member").status_code == 403


def test_no_answer_holds_a_secret_that_was_entered(site: Site, things: Things):
    """
    Secrets are write-only, for their owner too.
    """
    reads = [o for o in site.operations() if o[0] == "GET" and not o[1].endswith(("/doctor", "/watch"))]

    answers = walk(site, things, "admin", reads)

    assert wrong(answers, 200) == []
    assert not [operation for operation, answer in answers.items() if APP_SECRET in answer.text]
    assert "client_secret" in answers["GET", "/api/v1/connections/{connection_id}"].json()["secrets_set"]


def test_a_cookie_is_good_for_requests_of_our_own_pages(site: Site):
    """
    A page of another site may send it, and is refused; so is one of another port or subdomain.
    """
    cookie = {"Cookie": f"ninelives_session={site.cookies['admin']}"}

    for from_where, status in {"same-origin": 200, "none": 200, "same-site": 403, "cross-site": 403}.items():
        answer = site.ask("GET", "/projects", who=None, headers={**cookie, "Sec-Fetch-Site": from_where})
        assert answer.status_code == status, from_where


def test_a_cookie_from_a_foreign_origin_changes_nothing(site: Site):
    """
    Browsers that send no Sec-Fetch-Site (plain http under another name) send Origin with what changes things.
    """
    headers = {"Cookie": f"ninelives_session={site.cookies['admin']}", "Origin": "http://evil.example"}

    answer = site.ask("POST", "/projects", who=None, headers=headers, json={"name": a_name()})

    assert answer.status_code == 403


def test_a_revoked_token_is_useless_at_once(site: Site):
    """
    There is no cache in between.
    """
    made = site.good(site.ask("POST", "/tokens", json={"name": "gone"}))
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert site.ask("GET", "/whoami", who=None, headers=headers).status_code == 200

    site.good(site.ask("DELETE", f"/tokens/{made['id']}"))

    assert site.ask("GET", "/whoami", who=None, headers=headers).status_code == 401
