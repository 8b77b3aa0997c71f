"""What has to be installed for a build: `requirements.txt`, and what its imports need besides.

AutoKitteh installs its SDK and the libraries of all its helpers for every project; here a project gets those
whose helpers it imports. Which exact versions these stand for is left to the resolver.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ninelives_server.errors import Invalid
from ninelives_server.projects import included
from ninelives_server.projects.bundles import Bundle
from ninelives_server.projects.code import Code
from ninelives_server.projects.problems import Problems

FILE_NAME = "requirements.txt"
SDK = "autokitteh"
SDK_VERSION = "0.8.3"

#: Which libraries the modules of the SDK (PyPI autokitteh 0.8.3) import; ranges as in its extra `all`.
_HELPERS: dict[str, tuple[str, ...]] = {
    "airtable": ("pyairtable~=3.1",),
    "anthropic": ("anthropic~=0.75.0",),
    "asana": ("asana~=5.0",),
    "atlassian": ("atlassian-python-api~=3.41", "requests-oauthlib"),
    "auth0": ("auth0-python~=4.7",),
    "aws": ("boto3~=1.35",),
    "azurebot": ("requests~=2.32",),
    "discord": ("discord.py~=2.5",),
    "github": ("PyGithub~=2.8.1",),
    "google": (
        "google-api-python-client~=2.155",
        "google-auth-httplib2~=0.2",
        "google-auth-oauthlib~=1.2",
        "google-generativeai~=0.8",
        "gspread~=6.2",
        *included.PYDANTIC_AI,
    ),
    "hubspot": ("hubspot-api-client~=11.1",),
    "kubernetes": ("kubernetes~=31.0",),
    "linear": ("requests~=2.32", "requests-toolbelt~=1.0"),
    "microsoft": ("azure-identity~=1.19", "msgraph-sdk~=1.18"),
    "notion": ("notion_client~=2.0",),
    "oauth2_session": ("requests~=2.32", "requests-toolbelt~=1.0"),
    "openai": ("openai~=1.57",),
    "pipedrive": ("pipedrive-python-lib~=1.2",),
    "pydantic": included.PYDANTIC_AI,
    "reddit": ("praw~=7.8",),
    "salesforce": ("simple-salesforce~=1.12",),
    "slack": ("slack-sdk~=3.33",),
    "telegram": ("python-telegram-bot~=22.0",),
    "twilio": ("twilio~=9.4",),
    "zoom": ("requests~=2.32", "requests-toolbelt~=1.0"),
}
#: The same for our own SDK's helpers.
_OWN_HELPERS: dict[str, tuple[str, ...]] = {"salesforce": ("simple-salesforce>=1.12.9",)}

_BAD = "bad-requirement"
# A comment begins at the line's start or after white space (pip, "Requirements File Format").
_COMMENT = re.compile(r"(^|\s)#.*$")
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


#: Takes all that the resolver has said so far, again and again while it works.
Tell = Callable[[str], None]


def unheard(_said: str) -> None:
    """Tell nobody."""


class Resolver(Protocol):
    """Finds the exact packages that requirements stand for (`worker.environments`)."""

    async def resolve(self, requirements: str, tell: Tell) -> list[str]:
        """Return pinned requirements, one a line; tell what is said meanwhile.

        Raises:
            Invalid: There is no such set; in the resolver's words.
        """
        ...


def text_of(bundle: Bundle) -> str:
    """Return the project's `requirements.txt`; empty where it has none.

    Raises:
        Invalid: It is not UTF-8.
    """
    file = bundle.files.get(FILE_NAME)
    if file is None:
        return ""
    try:
        return file.data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid(f"{FILE_NAME}:1: is not UTF-8 text") from None


def added(text: str, code: Code, *, is_autokitteh: bool = False) -> list[str]:
    """Return the libraries that the code needs and `requirements.txt` does not name.

    These are those of SDK helpers that it imports; for a project of AutoKitteh (`is_autokitteh`: its manifest
    is one; or the code imports the SDK) also what it imports of AutoKitteh's own environment, and what it
    would have `autokitteh.packages` install.

    A line that names one of them without a version is content with what there is, as where AutoKitteh has it
    installed already: the range that its helpers are written for holds for it too.
    """
    decided = _decided(text)
    wanted: list[str] = []
    if any(_is_in(module, SDK) for module in code.imports):
        wanted.append(f"{SDK}=={SDK_VERSION}")
        is_autokitteh = True
    for package, helpers in ((SDK, _HELPERS), ("ninelives", _OWN_HELPERS)):
        for helper, libraries in helpers.items():
            if any(_is_in(module, f"{package}.{helper}") for module in code.imports):
                wanted.extend(libraries)
    if is_autokitteh:
        known = _named("\n".join(wanted))
        imported = (*included.libraries(code.imports), *code.installs)
        wanted.extend(item for item in imported if _named(item).isdisjoint(known))
    # A project that names the SDK gets the version that it asks for, but the same libraries.
    return [item for item in dict.fromkeys(wanted) if _named(item).isdisjoint(decided)]


def lacks(resolved: Iterable[str], additions: Iterable[str]) -> bool:
    """Tell whether a resolved set has no package for an addition: it was made before we added that."""
    there = _named("\n".join(resolved))
    return not all(_named(item) <= there for item in additions if _is_plain(item))


def _is_plain(line: str) -> bool:
    """Tell whether a requirement names a package that any resolved set has, whatever the platform."""
    try:
        wanted = _parsed(line)
    except InvalidRequirement:
        return False
    return wanted.url is None and wanted.marker is None


def full_text(text: str, additions: list[str]) -> str:
    """Return what is handed to the resolver; lines keep their numbers."""
    return "\n".join([*text.splitlines(), *additions]) + "\n" if text.strip() or additions else ""


def check(bundle: Bundle, code: Code, problems: Problems) -> None:
    """Read `requirements.txt` line by line; what is wrong or odd is added to `problems`."""
    try:
        text = text_of(bundle)
    except Invalid:
        problems.add(FILE_NAME, 1, "is not UTF-8 text", _BAD)
        return
    provided = _provided(code)
    for number, line in _logical_lines(text):
        if line.startswith("-"):
            problems.add(
                FILE_NAME, number, f"{line[:100]!r} is an option; list the packages themselves", _BAD
            )
            continue
        try:
            wanted = _parsed(line)
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
            problems.add(FILE_NAME, number, f"{line[:100]!r} names no package: {reason}", _BAD)
            continue
        name = canonicalize_name(wanted.name)
        if name in provided:
            effect = "decides its version" if _decides(wanted) else "leaves its version as it is"
            message = f"{name} is there anyway, because {provided[name]}; this line {effect}"
            problems.warn(FILE_NAME, number, message, "included-requirement")


def _provided(code: Code) -> dict[str, str]:
    """Return what is installed without being named, with the reason."""
    found = {"ninelives": "sessions get this server's own"}
    for item in added("", code):
        found.update(dict.fromkeys(_named(item), "the code imports what needs it"))
    return found


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield requirements with the number of their first line: no comments, continued lines joined."""
    start, parts = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        start = start or number
        parts += _COMMENT.sub("", line)
        if parts.endswith("\\"):
            parts = parts[:-1] + " "
            continue
        if parts.strip():
            yield start, parts.strip()
        start, parts = 0, ""
    if parts.strip():
        yield start, parts.strip()


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _parsed(line: str) -> Requirement:
    """Read a line of `requirements.txt`, without pip's options at its end."""
    return Requirement(line.partition(" --")[0].strip())


def _decides(requirement: Requirement) -> bool:
    return bool(requirement.specifier or requirement.url)


def _decided(text: str) -> set[str]:
    """Return the normalised names of the packages whose version is decided, of unclear lines too."""
    found: set[str] = set()
    for _number, line in _logical_lines(text):
        try:
            if not _decides(_parsed(line)):
                continue
        except InvalidRequirement:
            pass
        found |= _named(line)
    return found


def _named(text: str) -> set[str]:
    """Return the normalised names of the packages in requirements (PEP 503, "Normalized Names")."""
    found = (_NAME.match(line) for line in text.splitlines())
    return {re.sub(r"[-_.]+", "-", match[1]).lower() for match in found if match}
