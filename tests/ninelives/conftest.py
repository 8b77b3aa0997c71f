"""Programs that run in real session processes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from outside import Outside

from ninelives_server.testing.session_harness import Harness, Program


@pytest.fixture(scope="session")
def harness() -> Iterator[Harness]:
    """Starts session processes; one helper process for all tests of this worker."""
    made = Harness()
    yield made
    made.close()


#: As a worker's zygote has what its projects import.
PRELOADED = (
    "requests httpx2 email.mime.text jinja2 lxml.etree pydantic simple_salesforce sqlalchemy yaml"
).split()


@pytest.fixture(scope="session")
def zygote() -> Iterator[Harness]:
    """Starts session processes that have loaded what programs import, as a worker's zygote has."""
    made = Harness(path=[str(Path(__file__).parent / "library")], preload=PRELOADED)
    yield made
    made.close()


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    """The world that a program changes."""
    made = Outside(tmp_path / "outside")
    yield made
    made.close()


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Program]:
    """Makes a project of its own from source texts: `main.py`, and others by name."""

    def make(source: str, *, files: dict[str, str] | None = None, **options: object) -> Program:
        directory = tmp_path / "build"
        for name, text in {"main.py": source, **(files or {})}.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text), encoding="utf-8")
        return Program(directory, **options)  # type: ignore[arg-type]

    return make
