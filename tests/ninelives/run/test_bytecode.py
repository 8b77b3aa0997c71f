"""Bytecode that is made ahead of a build's sessions."""

import sys

import pytest

from ninelives.run import bytecode, instrument, semantics

SOURCE = b"import tenacity\ndef main(event):\n    return tenacity.nap(event)\n"


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch):
    monkeypatch.setattr(bytecode, "_builds", type(bytecode._builds)())


@pytest.fixture
def build(tmp_path):
    place = tmp_path / "build"
    (place / "package").mkdir(parents=True)
    (place / "main.py").write_bytes(SOURCE)
    (place / "package" / "inner.py").write_text("x = 1\n")
    return place


@pytest.fixture
def _cannot_compile(monkeypatch):
    def compile_source(_source, filename, *, is_durable):
        raise AssertionError(f"{filename} is compiled again, durable {is_durable}")

    monkeypatch.setattr(instrument, "compile_source", compile_source)


def _kept(build):
    bytecode.keep(str(build), bytecode.of_build(str(build)))
    return build


@pytest.fixture
def kept(build):
    return _kept(build)


@pytest.mark.parametrize("is_durable", [True, False])
def test_modules_are_not_compiled_again(kept, _cannot_compile, is_durable):
    """Neither as they are nor rewritten, and the two are not mixed up."""
    file = str(kept / "main.py")

    code = bytecode.compiled(SOURCE, file, str(kept), is_durable=is_durable)

    main = next(one for one in code.co_consts if hasattr(one, "co_names"))
    assert code.co_filename == file
    assert (instrument.METHOD in main.co_names) is is_durable


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda source, file, build: (source + b"\n", file, build), id="another source"),
        pytest.param(lambda source, file, build: (source, f"{file}x", build), id="another file"),
        pytest.param(lambda source, file, build: (source, file, f"{build}x"), id="another build"),
    ],
)
def test_what_is_not_the_same_is_compiled(kept, _cannot_compile, change):
    """Nobody gets the code of something else."""
    source, file, build = change(SOURCE, str(kept / "main.py"), str(kept))

    with pytest.raises(AssertionError, match="is compiled again"):
        bytecode.compiled(source, file, build, is_durable=True)


def test_a_session_of_older_semantics_compiles_for_itself(kept, _cannot_compile, monkeypatch):
    """Its code is rewritten as it was then."""
    monkeypatch.setattr(semantics, "version", lambda: 0)

    with pytest.raises(AssertionError, match="is compiled again"):
        bytecode.compiled(SOURCE, str(kept / "main.py"), str(kept), is_durable=True)


def test_libraries_that_are_rewritten_are_made_ahead_too(kept, _cannot_compile):
    """There are some hundred lines of tenacity, for each session that imports it."""
    file = sys.modules.get("tenacity") or pytest.importorskip("tenacity")
    with open(file.__file__, "rb") as source:
        found = bytecode.compiled(source.read(), file.__file__, str(kept), is_durable=True)

    assert found.co_filename == file.__file__


@pytest.mark.parametrize(
    "source", ["def main(:\n", 'x = "\\d"\n', "x = 1\n\0", "(" * 500 + ")" * 500, "\ufeff# coding: nowhere\n"]
)
def test_what_warns_or_cannot_be_compiled_is_left_to_the_sessions(build, source):
    """Each of them has to see it; the other modules are made."""
    (build / "odd.py").write_text(source)
    before = len(bytecode.of_build(str(build / "package")))

    found = bytecode.of_build(str(build))
    (build / "odd.py").unlink()

    assert before == 2
    assert found == bytecode.of_build(str(build))


def test_builds_that_came_first_go_where_there_is_no_more_room(tmp_path, build, monkeypatch):
    """The newest stays in any case."""
    monkeypatch.setattr(bytecode, "_ROOM", 10)
    other = tmp_path / "other"
    other.mkdir()
    (other / "main.py").write_bytes(SOURCE)

    _kept(build)
    _kept(other)

    assert list(bytecode._builds) == [str(other)]


def test_after_its_time_the_rest_is_left_to_the_sessions(build, monkeypatch):
    """A project of a million lines does not keep its first session waiting for all of them."""
    monkeypatch.setattr(bytecode, "_PATIENCE", -1.0)

    assert bytecode.of_build(str(build)) == {}
