import os

from autokitteh.github import github_client

LABEL = os.getenv("LABEL")
github = github_client("github_conn")


def on_schedule(event):
    repo = github.get_repo(os.getenv("REPO"))
    print(f"{os.getenv('github_conn__target_name')}: {repo.full_name}")
    labelled = []
    for issue in repo.get_issues(state="open"):
        if any(label.name == LABEL for label in issue.labels):
            continue
        issue.add_to_labels(LABEL)
        labelled.append(issue.number)
        print(f"labelled #{issue.number} {issue.title}")
    return labelled


def on_issue(event):
    print(event.data.issue.title)
