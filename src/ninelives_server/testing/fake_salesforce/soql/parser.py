"""Reads a query into the dataclasses of `syntax`: recursive descent, one method per rule."""

from datetime import date

from ninelives_server.testing.fake_salesforce import times
from ninelives_server.testing.fake_salesforce.faults import RestError
from ninelives_server.testing.fake_salesforce.soql import tokens
from ninelives_server.testing.fake_salesforce.soql.dates import SPANS
from ninelives_server.testing.fake_salesforce.soql.syntax import (
    Aggregate,
    AllFields,
    Both,
    Comparison,
    Condition,
    DateLiteral,
    Either,
    Item,
    Literal,
    Negation,
    Order,
    Path,
    Query,
)

_FUNCTIONS = {"COUNT", "COUNT_DISTINCT", "SUM", "AVG", "MIN", "MAX"}
_ENDS = {"WHERE", "GROUP", "ORDER", "LIMIT", "OFFSET", "FOR", "ALL", "WITH", "USING", "HAVING"}
_OPERATORS = {"=": "=", "!=": "!=", "<>": "!=", "<": "<", ">": ">", "<=": "<=", ">=": ">="}


def parse(soql: str) -> Query:
    """Return the parsed query.

    Raises:
        RestError: MALFORMED_QUERY, with the place.
    """
    reader = _Reader(soql)
    query = reader.query()
    reader.expect_end()
    return query


class _Reader:
    def __init__(self, soql: str) -> None:
        self._soql = soql
        self._tokens = tokens.cut(soql)
        self._place = 0

    @property
    def _token(self) -> tokens.Token:
        return self._tokens[self._place]

    def _next(self) -> tokens.Token:
        token = self._token
        self._place += token.kind != "end"
        return token

    def _is(self, *words: str) -> bool:
        """Say whether the next tokens are these words or marks."""
        ahead = self._tokens[self._place : self._place + len(words)]
        return [t.text.upper() for t in ahead] == list(words) and all(t.kind != "string" for t in ahead)

    def _take(self, *words: str) -> bool:
        if not self._is(*words):
            return False
        self._place += len(words)
        return True

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise self._unexpected()

    def _unexpected(self) -> RestError:
        return tokens.malformed(self._soql, self._token.at, f"unexpected token: '{self._token.text}'")

    def expect_end(self) -> None:
        """Refuse whatever stands behind the query."""
        if self._token.kind != "end":
            raise self._unexpected()

    def query(self) -> Query:
        """Read a query."""
        self._need("SELECT")
        select = [self._item()]
        while self._take(","):
            select.append(self._item())
        self._need("FROM")
        source = self._word()
        alias = self._word().text if self._token.kind == "word" and not self._at_clause() else None
        if self._take("USING"):
            self._need("SCOPE")
            self._word()
        where = self._either() if self._take("WHERE") else None
        if self._take("WITH"):
            self._word()
        group_by = self._group_by()
        order_by = self._order_by()
        limit = self._whole_number() if self._take("LIMIT") else None
        offset = self._whole_number() if self._take("OFFSET") else 0
        all_rows = self._take("ALL", "ROWS")
        if self._take("FOR"):
            self._word()
        return Query(
            select=tuple(select), from_name=source.text, from_at=source.at, alias=alias, where=where,
            group_by=group_by, order_by=order_by, limit=limit, offset=offset, all_rows=all_rows,
        )  # fmt: skip

    def _at_clause(self) -> bool:
        return self._token.text.upper() in _ENDS

    def _word(self) -> tokens.Token:
        if self._token.kind != "word":
            raise self._unexpected()
        return self._next()

    def _whole_number(self) -> int:
        if self._token.kind != "number" or not self._token.text.isdigit():
            raise self._unexpected()
        return int(self._next().text)

    def _item(self) -> Item:
        if self._take("("):
            inner = self.query()
            self._need(")")
            return inner
        name = self._word()
        if not self._take("("):
            return Path(tuple(name.text.split(".")), name.at)
        if name.text.upper() == "FIELDS":
            which = self._word().text.upper()
            self._need(")")
            return AllFields(which)
        return self._aggregate(name)

    def _aggregate(self, name: tokens.Token) -> Aggregate:
        if name.text.upper() not in _FUNCTIONS:
            raise tokens.malformed(self._soql, name.at, f"unexpected token: '{name.text}'")
        path = None
        if not self._take(")"):
            path = self._path()
            self._need(")")
        alias = None
        if self._token.kind == "word" and self._token.text.upper() not in _ENDS | {
            "FROM",
            "ASC",
            "DESC",
            "NULLS",
        }:
            alias = self._next().text
        return Aggregate(name.text.upper(), path, alias)

    def _path(self) -> Path:
        word = self._word()
        return Path(tuple(word.text.split(".")), word.at)

    def _group_by(self) -> tuple[Path, ...]:
        if not self._take("GROUP", "BY"):
            return ()
        paths = [self._path()]
        while self._take(","):
            paths.append(self._path())
        return tuple(paths)

    def _order_by(self) -> tuple[Order, ...]:
        if not self._take("ORDER", "BY"):
            return ()
        columns = [self._order()]
        while self._take(","):
            columns.append(self._order())
        return tuple(columns)

    def _order(self) -> Order:
        word = self._word()
        target: Path | Aggregate = Path(tuple(word.text.split(".")), word.at)
        if self._take("("):
            target = self._aggregate(word)
        descending = self._take("DESC")
        if not descending:
            self._take("ASC")
        nulls_last = self._take("NULLS", "LAST")
        if not nulls_last:
            self._take("NULLS", "FIRST")
        return Order(target, descending, nulls_last)

    def _either(self) -> Condition:
        first = self._term()
        if self._is("OR"):
            terms = [first]
            while self._take("OR"):
                terms.append(self._term())
            if self._is("AND"):
                raise self._unexpected()  # Salesforce too asks for parentheses around a mix
            return Either(tuple(terms))
        terms = [first]
        while self._take("AND"):
            terms.append(self._term())
        if self._is("OR"):
            raise self._unexpected()
        return terms[0] if len(terms) == 1 else Both(tuple(terms))

    def _term(self) -> Condition:
        if self._take("NOT"):
            return Negation(self._term())
        if self._take("("):
            inner = self._either()
            self._need(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Comparison:
        path = self._path()
        if self._take("NOT", "IN"):
            return Comparison(path, "NOT IN", self._members())
        if self._take("IN"):
            return Comparison(path, "IN", self._members())
        if self._take("LIKE"):
            return Comparison(path, "LIKE", self._literal())
        for word in ("INCLUDES", "EXCLUDES"):
            if self._take(word):
                return Comparison(path, word, self._members())
        operator = _OPERATORS.get(self._token.text)
        if operator is None or self._token.kind != "mark":
            raise self._unexpected()
        self._next()
        return Comparison(path, operator, self._literal())

    def _members(self) -> list[Literal] | Query:
        self._need("(")
        if self._is("SELECT"):
            inner = self.query()
            self._need(")")
            return inner
        members = [self._literal()]
        while self._take(","):
            members.append(self._literal())
        self._need(")")
        return members

    def _literal(self) -> Literal:
        token = self._next()
        word = token.text.upper()
        if token.kind == "string":
            return tokens.unquote(token.text)
        if token.kind == "number":
            return float(token.text) if "." in token.text else int(token.text)
        if token.kind == "datetime":
            return times.read_datetime(token.text)
        if token.kind == "date":
            return self._date(token)
        if token.kind == "literal":
            name, _, count = word.partition(":")
            return DateLiteral(name, int(count))
        if token.kind == "word" and word in {"TRUE", "FALSE"}:
            return word == "TRUE"
        if token.kind == "word" and word == "NULL":
            return None
        if token.kind == "word" and word in SPANS:
            return DateLiteral(word, None)
        raise tokens.malformed(self._soql, token.at, f"unexpected token: '{token.text}'")

    def _date(self, token: tokens.Token) -> date:
        try:
            return date.fromisoformat(token.text)
        except ValueError:
            raise tokens.malformed(self._soql, token.at, f"Invalid date: {token.text}") from None
