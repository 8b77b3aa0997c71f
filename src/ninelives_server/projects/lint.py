"""All that is wrong or odd with a project's directory, as a list: what `project lint` prints."""

from ninelives_server.errors import Invalid, TooLarge
from ninelives_server.projects import bundles, checks, sources
from ninelives_server.projects.checks import Surroundings
from ninelives_server.projects.manifest import FILE_NAMES
from ninelives_server.projects.problems import Finding, Problems, Severity


def lint(packed: bytes, around: Surroundings, *, named: bool = False) -> list[Finding]:
    """Check a directory, sent as a gzipped tar, by every rule; nothing of it is run.

    Args:
        packed: The bundle.
        around: What it may refer to.
        named: Whether it will be deployed under a name that the manifest need not give.
    """
    try:
        bundle = bundles.read(packed)
    except (Invalid, TooLarge) as error:
        return [Finding("", 0, str(error), "bundle", Severity.ERROR)]
    problems = Problems()
    source = sources.read(bundle, problems)
    if source.manifest is None:
        if not any(name in bundle.files for name in FILE_NAMES):
            problems.add("", 0, no_manifest(), "manifest-missing")
    elif not source.manifest.name and not named:
        problems.add(source.manifest.file, 1, no_name(), "missing-project-name")
    checks.check(source, around, problems)
    return problems.findings


def no_manifest() -> str:
    """Return what to say of a directory without a manifest."""
    return f"the directory has no {' and no '.join(FILE_NAMES)}; `ninelives init NAME` makes a first one"


def no_name() -> str:
    """Return what to say of a manifest without a project's name."""
    return "the project has no 'name'; or say --project NAME"
