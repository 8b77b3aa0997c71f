"""
What has to be installed: what the project names, and what the helpers that it imports need.
"""

import ast
import importlib.util
from pathlib import Path

import pytest
from making import tar_of

from ninelives_server.errors import Invalid
from ninelives_server.projects import bundles, code, requirements


def added(main: str, text: str = "") -> list[str]:
    return requirements.added(text, code.scan(bundles.read(tar_of({"main.py": main}))))


@pytest.mark.parametrize(
    ("main", "text", "expected"),
    [
        ("import requests", "", []),
        ("import autokitteh", "", ["autokitteh==0.8.3"]),
        (
            "from autokitteh.salesforce import salesforce_client",
            "",
            ["autokitteh==0.8.3", "simple-salesforce~=1.12"],
        ),
        ("from autokitteh import slack", "", ["autokitteh==0.8.3", "slack-sdk~=3.33"]),
        ("import autokitteh.slack", "autokitteh==0.8.1\n", ["slack-sdk~=3.33"]),
        ("import autokitteh.slack", "AutoKitteh[all]\nSlack.SDK>=3\n", ["autokitteh==0.8.3"]),
        ("import autokitteh.slack", "# autokitteh\n", ["autokitteh==0.8.3", "slack-sdk~=3.33"]),
        ("import autokitteh.slacker", "", ["autokitteh==0.8.3"]),
        ("import autokitteh_extras", "", []),
        ("import ninelives", "", []),
        ("import ninelives.salesforce", "", ["simple-salesforce>=1.12.9"]),
        ("from ninelives import salesforce", "simple_salesforce==1.12.6", []),
        (
            "import ninelives.salesforce, autokitteh.salesforce",
            "",
            ["autokitteh==0.8.3", "simple-salesforce~=1.12", "simple-salesforce>=1.12.9"],
        ),
    ],
    ids=range(13),
)
def test_helpers_bring_their_libraries(main: str, text: str, expected: list[str]):
    """
    What `requirements.txt` names is left to it.
    """
    assert added(main, text) == expected


@pytest.mark.parametrize(
    ("main", "text", "expected"),
    [
        ("import requests, json", "", ["requests~=2.32"]),
        ("from slack_sdk.errors import SlackApiError", "", ["slack-sdk~=3.33"]),
        ("from googleapiclient.errors import HttpError", "", ["google-api-python-client~=2.155"]),
        ("import google.oauth2.service_account", "google-auth==2.1", []),
        ("import requests", "Requests==2.31\n", []),
        ("from autokitteh import packages\npackages.install('numpy', ['pillow ~= 10.4', 'PIL'])", "", None),
        ("import pydantic_ai", "", ["pydantic-ai~=1.30", "opentelemetry-api<1.40"]),
        ("from mcp import ClientSession", "", ["mcp<2"]),
        ("import grpc, logfire", "", ["grpcio~=1.68", "logfire"]),
        ("import google.protobuf.json_format", "", ["protobuf"]),
        ("import psycopg2\nfrom paramiko import Transport", "", ["paramiko", "psycopg2-binary"]),
        ("from jenkins import Jenkins", "python-jenkins==1.8", []),
        ("from agents import Agent\nimport openai", "", ["openai~=1.57", "openai-agents"]),
        ("from agents.run import RunConfig", "openai-agents>=0.3", []),
        ("from langgraph.graph import END", "", ["langgraph"]),
        (
            "import langchain_core.tools, langchain_google_genai\nfrom langchain_tavily import TavilySearch",
            "",
            ["langchain-core", "langchain-google-genai", "langchain-tavily"],
        ),
        ("import pydantic_ai", "pydantic-ai\nlogfire\n", ["pydantic-ai~=1.30", "opentelemetry-api<1.40"]),
        ("import openai", "openai  # the newest\n", ["openai~=1.57"]),
        ("import openai", "openai ; python_version < '4'\n", ["openai~=1.57"]),
        ("import openai", "openai >= 2 # needed\n", []),
        ("import openai", "openai @ https://host.example/openai.whl\n", []),
        ("import openai", "openai ?\n", []),
        ("import pandas", "", []),
    ],
)
def test_a_project_of_autokitteh_gets_what_it_imports_of_its_environment(main, text, expected):
    """
    There everything of `autokitteh[all]` is installed already, and no `requirements.txt` names it, or names it
    without asking for a version; what the project would install itself while it runs is installed with the rest.
    """
    found = requirements.added(text, code.scan(bundles.read(tar_of({"main.py": main}))), is_autokitteh=True)

    assert found == (["autokitteh==0.8.3", "numpy", "pillow ~= 10.4"] if expected is None else expected)


def test_an_own_module_is_no_library():
    """
    A project's `github.py` is what `import github` means.
    """
    scanned = code.scan(bundles.read(tar_of({"main.py": "import github", "github.py": ""})))

    assert requirements.added("", scanned, is_autokitteh=True) == []


def test_every_helper_of_the_sdk_is_in_the_table():
    """
    A module of the installed SDK that imports a third party's library is known.
    """
    spec = importlib.util.find_spec("autokitteh")
    assert spec is not None and spec.origin is not None
    stdlib_only = {"activities", "attr_dict", "connections", "errors", "event", "events", "outcomes", "packages",
                   "signals", "store", "triggers", "__init__", "slack_test"}  # fmt: skip
    modules = {path.stem for path in Path(spec.origin).parent.glob("*.py")}

    assert modules - stdlib_only == set(requirements._HELPERS)
    for name in stdlib_only - {"slack_test"}:
        tree = ast.parse((Path(spec.origin).parent / f"{name}.py").read_text())
        imported = {
            n.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for n in node.names
        }
        assert not imported & {"requests", "simple_salesforce", "slack_sdk", "google", "jwt"}


def test_additions_do_not_move_the_projects_own_lines():
    """
    The resolver's line numbers are those of the file.
    """
    assert requirements.full_text("a\nb", ["c"]) == "a\nb\nc\n"
    assert requirements.full_text("", []) == ""
    assert requirements.full_text("", ["c"]) == "c\n"


def test_requirements_that_are_no_text_are_refused():
    """
    With file and line, as everything else.
    """
    bundle = bundles.read(tar_of({"requirements.txt": b"\xff\xfe"}))

    with pytest.raises(Invalid, match=r"requirements.txt:1: is not UTF-8"):
        requirements.text_of(bundle)
    assert requirements.text_of(bundles.read(tar_of({}))) == ""
    assert requirements.text_of(bundles.read(tar_of({"requirements.txt": b"\xef\xbb\xbfa"}))) == "a"
