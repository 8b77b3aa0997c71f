"""A project's directory, read: its files, its manifest, its code."""

from dataclasses import dataclass

from ninelives_server.projects import code, manifest
from ninelives_server.projects.bundles import Bundle
from ninelives_server.projects.code import Code
from ninelives_server.projects.manifest import FILE_NAMES, Manifest
from ninelives_server.projects.problems import Problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A directory, read.

    Attributes:
        manifest: `None` where there is none, or none that can be read.
    """

    bundle: Bundle
    manifest: Manifest | None
    code: Code


def read(bundle: Bundle, problems: Problems) -> Source:
    """Read a bundle; what is wrong or odd in it is added to `problems`."""
    present = [name for name in FILE_NAMES if name in bundle.files]
    found = _manifest(bundle, present[0], problems) if present else None
    for name in present[1:]:
        problems.warn("", 0, f"{name} is ignored; there is {present[0]}", "manifest-ignored")
    return Source(bundle=bundle, manifest=found, code=code.scan(bundle))


def _manifest(bundle: Bundle, name: str, problems: Problems) -> Manifest | None:
    try:
        text = bundle.files[name].data.decode("utf-8-sig")
    except UnicodeDecodeError:
        problems.add(name, 1, "is not UTF-8 text", "manifest-unreadable")
        return None
    return manifest.read(text, name, problems)
