"""Cuts a query into tokens and words its errors the way Salesforce does."""

import re
from dataclasses import dataclass

from ninelives_server.testing.fake_salesforce.faults import RestError

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>'(?:[^'\\]|\\.)*')
      | (?P<datetime>\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:?\d{2}))
      | (?P<date>\d{4}-\d{2}-\d{2})
      | (?P<number>[+-]?\d+(?:\.\d+)?)
      | (?P<literal>[A-Za-z_]+:\d+)
      | (?P<word>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)
      | (?P<mark><=|>=|!=|<>|[=<>(),])""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the query; `at` is its column, from 1."""

    kind: str
    text: str
    at: int


def cut(soql: str) -> list[Token]:
    """Return the tokens of a query, closed by one of kind `end`.

    Raises:
        RestError: There is a character that begins no token.
    """
    found, place = [], 0
    while place < len(soql):
        match = _TOKEN.match(soql, place)
        if match is None:
            raise malformed(soql, place + 1, f"unexpected token: '{soql[place]}'")
        if match.lastgroup != "space":
            found.append(Token(str(match.lastgroup), match.group(), place + 1))
        place = match.end()
    found.append(Token("end", "<EOF>", len(soql) + 1))
    return found


def unquote(text: str) -> str:
    """Return what a string literal means."""
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m.group(1), m.group(1)), text[1:-1], flags=re.DOTALL)


def pointed(soql: str, at: int, message: str) -> str:
    """Return an error text with the query and a caret below the place, as Salesforce shows it."""
    return f"\n{soql}\n{' ' * (at - 1)}^\nERROR at Row:1:Column:{at}\n{message}"


def malformed(soql: str, at: int, message: str) -> RestError:
    """Return the error of a query that does not parse."""
    return RestError(400, "MALFORMED_QUERY", pointed(soql, at, message))
