"""
`ninelives init`: a first project that deploys and runs as it is.
"""

import types
from pathlib import Path

import pytest
from making import tar_of

from ninelives_server.errors import Conflict, Invalid
from ninelives_server.projects import bundles, scaffold, sources
from ninelives_server.projects.problems import Problems


def test_the_first_project_is_right(tmp_path: Path):
    """
    It has a webhook, something to start by hand, and no warning.
    """
    written = scaffold.init(tmp_path / "first", "first")

    problems = Problems()
    bundle = bundles.read(tar_of({path.name: path.read_text() for path in written}))
    source = sources.read(bundle, problems)

    assert [path.name for path in written] == ["ninelives.yaml", "main.py", "README.md"]
    assert source.manifest is not None
    assert source.manifest.name == "first"
    assert [(t.name, t.call, t.is_durable) for t in source.manifest.triggers] == [
        ("incoming", "main.py:on_request", True)
    ]
    assert "hello" in source.code.names_in("main.py")
    assert problems.findings == []
    assert source.code.imports <= {"os", "time"}


def test_its_code_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """
    The entry points run with an event as sessions see it.
    """
    scaffold.init(tmp_path, "first")
    monkeypatch.setenv("GREETING", "Hello")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    space: dict = {}
    exec(compile((tmp_path / "main.py").read_text(), "main.py", "exec"), space)

    result = space["hello"](types.SimpleNamespace(data={"name": "Ada"}))

    assert result == {"greeted": "Ada"}
    assert capsys.readouterr().out == "Hello, Ada!\nHello again, Ada!\n"


def test_nothing_is_overwritten(tmp_path: Path):
    """
    A second `init` in the same place writes nothing at all.
    """
    (tmp_path / "main.py").write_text("mine")

    with pytest.raises(Conflict, match="main.py is there already"):
        scaffold.init(tmp_path, "first")

    assert [path.name for path in tmp_path.iterdir()] == ["main.py"]


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "prj_" + "0" * 26])
def test_a_name_that_no_project_can_have_is_refused(tmp_path: Path, name: str):
    """
    Before anything is written.
    """
    with pytest.raises(Invalid, match="letters, digits"):
        scaffold.init(tmp_path / "x", name)
    assert list(tmp_path.iterdir()) == []
