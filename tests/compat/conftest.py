"""Programs in the style of AutoKitteh's own tests, run in real session processes with the SDK from PyPI."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ninelives_server.testing.session_harness import Harness, Program


@pytest.fixture(scope="session")
def harness() -> Iterator[Harness]:
    """Starts session processes; one helper process for all tests of this worker."""
    made = Harness()
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
