from os import getenv

from autokitteh.atlassian import get_base_url, jira_client

jira = jira_client("jira_connection")


def on_form_submit(event):
    form = event.data.body.form
    key = _create_issue(form["title"], form["description"])
    print(f"created {get_base_url('jira_connection')}/browse/{key}")
    jira.issue_add_comment(key, f"Reported by {form['email']}")
    print("commented")


def _create_issue(title, description):
    fields = {
        "project": {"key": getenv("PROJECT_KEY")},
        "issuetype": {"name": "Task"},
        "summary": title,
        "description": description,
    }
    res = jira.create_issue(fields)
    return res["key"]
