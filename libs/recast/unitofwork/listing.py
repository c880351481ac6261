"""Lists: `filter` and `order_by` as AIP-160 and AIP-132 have them, and keyset pages with opaque tokens.

Of AIP-160 this knows conditions joined by AND over declared fields: `state = "AVAILABLE" AND display_name =
"night*"`. A page begins after the last row of the one before, by value, so the last page costs what the first
does, where an index has the project, the fields that are held equal, the order and the id, in this sequence.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    ColumnElement,
    Dialect,
    String,
    and_,
    bindparam,
    func,
    literal,
    literal_column,
    or_,
    tuple_,
)
from sqlalchemy import select as sa_select
from sqlmodel import Session, SQLModel, select
from sqlmodel.sql.sqltypes import AutoString

from recast.faults import FilterInvalid, PageTokenInvalid
from recast.unitofwork.by_bytes import by_bytes
from recast.unitofwork.database import Database
from recast.unitofwork.look import Look, value

Row = TypeVar("Row", bound=SQLModel)
DEFAULT_PAGE, MAX_PAGE = 50, 1000
_CONDITION = re.compile(r'\s*([a-z_]+)\s*(=|!=|<=|>=|<|>|:)\s*("(?:[^"\\]|\\.)*"|[^\s"]+)\s*')
_MAX_FILTER = 2048
_KEPT_STATEMENTS = 128
_SHOWN = 40  # so much of a wrong text is repeated in the refusal
_AND = re.compile(r"AND(?=\s)")


@dataclass(frozen=True)
class Field:
    """A field that a list is filtered or ordered by: its column, and how its literal is read."""

    column: Any
    parse: Callable[[str], Any] = str
    sortable: bool = False


@dataclass(frozen=True)
class Page(Generic[Row]):
    """A page of rows; `next_token` is empty on the last."""

    rows: Sequence[Row]
    next_token: str


class Listing(Generic[Row]):
    """How one table is listed. Every order ends with the id, so that it is total.

    `shown`: the columns of a `shown_page`, the first of bytes.
    """

    def __init__(
        self,
        table: type[Row],
        fields: Mapping[str, Field],
        id_column: str = "id",
        shown: Sequence[ColumnElement[Any]] = (),
    ) -> None:
        self._table = table
        self._columns: Any = table.__table__.c  # type: ignore[attr-defined]
        self._fields = fields
        self._id = id_column
        self._shown = shown
        self._statements: dict[tuple[str, str, bool, int], tuple[Look, list[tuple[str, bool]]]] = {}

    def page(
        self,
        session: Session,
        *where: ColumnElement[bool],
        scope: str,
        filter_text: str,
        order_by: str,
        page_size: int,
        page_token: str,
    ) -> Page[Row]:
        """One page of the rows that match `where` and the filter.

        `scope` is what else the token is bound to: the project.
        """
        conditions = self._conditions(filter_text)
        order = self._order(order_by)
        query_digest = _digest(scope, filter_text, tuple(order))
        size = _size(page_size)
        query = select(self._table).where(*where, *conditions).order_by(*self._ordered(order))
        if page_token:
            query = query.where(self._after(order, self._read_token(page_token, query_digest, order)))
        rows = list(session.exec(query.limit(size + 1)))
        return _page(rows, size, query_digest, lambda row: [getattr(row, name) for name, _ in order])

    def shown_page(
        self,
        database: Database,
        project: str,
        *,
        scope: str,
        filter_text: str,
        order_by: str,
        page_size: int,
        page_token: str,
    ) -> Page[Any]:
        """One page of a project's rows, tuples that begin with the `shown` columns.

        Its statements are kept: to build one takes longer than to run it.
        """
        asked = (filter_text, order_by, bool(page_token), _size(page_size))
        kept = self._statements.get(asked)
        if kept is None:
            if len(self._statements) >= _KEPT_STATEMENTS:
                self._statements.clear()
            kept = self._statements[asked] = self._statement(*asked)
        look, order = kept
        query_digest, size = _digest(scope, filter_text, tuple(order)), _size(page_size)
        values: dict[str, object] = {"in_project": project}
        if page_token:
            position = self._read_token(page_token, query_digest, order)
            values |= {f"after_{number}": value for number, value in enumerate(position)}
        rows = database.look(look, values)
        return _page(rows, size, query_digest, lambda row: self._position_of(row, order, database.dialect))

    def _statement(
        self, filter_text: str, order_by: str, is_after: bool, size: int
    ) -> tuple[Look, list[tuple[str, bool]]]:
        order = self._order(order_by)
        positions = [self._columns[name] for name, _ in order]  # which the next page's token is made of
        query = sa_select(*self._shown, *positions).where(
            self._columns["project"] == bindparam("in_project"), *self._conditions(filter_text)
        )
        if is_after:
            names = [
                bindparam(f"after_{number}", type_=self._columns[name].type)
                for number, (name, _) in enumerate(order)
            ]
            query = query.where(self._after(order, names))
        # As a parameter PostgreSQL would not know how few are wanted, and plan anew at each page.
        query = query.order_by(*self._ordered(order)).limit(literal_column(str(size + 1)))
        return Look(query, packed=True), order

    def _position_of(self, row: Any, order: list[tuple[str, bool]], dialect: Dialect) -> list[Any]:
        columns = [self._columns[name] for name, _ in order]
        raw = row[-len(columns) :]
        return [value(column.type, each, dialect) for column, each in zip(columns, raw, strict=True)]

    def _ordered(self, order: list[tuple[str, bool]]) -> list[ColumnElement[Any]]:
        return [
            self._compared(name).desc() if descending else self._compared(name).asc()
            for name, descending in order
        ]

    def _compared(self, name: str) -> ColumnElement[Any]:
        """The column as lists compare it and sort by it, and as their indexes hold it (`listing_index`)."""
        column: ColumnElement[Any] = self._columns[name]
        return by_bytes(column) if isinstance(column.type, String | AutoString) else column

    def _conditions(self, text: str) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        position = 0
        if len(text) > _MAX_FILTER:  # a database's own limit would answer as a bug
            raise self._unknown(f"filter: longer than {_MAX_FILTER} characters")
        while text.strip() and position < len(text):
            if conditions:
                joined = _AND.match(text, position)
                if not joined:
                    raise self._unknown(f"filter: expected AND at {text[position:][:_SHOWN]!r}")
                position = joined.end()
            found = _CONDITION.match(text, position)
            if not found:
                raise self._unknown(
                    f'filter: cannot read {text[position:][:_SHOWN]!r}; write conditions like state = "X"'
                )
            conditions.append(self._condition(*found.groups()))
            position = found.end()
        return conditions

    def _condition(self, name: str, operator: str, literal: str) -> ColumnElement[bool]:
        field = self._fields.get(name)
        if field is None:
            raise self._unknown(f"filter: there is no field {name[:_SHOWN]}")
        column = self._compared(field.column.key)
        try:
            plain = json.loads(literal) if literal.startswith('"') else literal
            if operator in {"=", ":"} and field.parse is str and plain.endswith("*"):
                prefix = _storable(plain[:-1])
                # Not LIKE: SQLite's ignores case, PostgreSQL's does not.
                result: ColumnElement[bool] = func.substr(column, 1, len(prefix)) == prefix
                return result
            value = _storable(field.parse(plain))
        except (ValueError, KeyError):
            raise self._unknown(f"filter: {literal[:_SHOWN]} is no value of {name}") from None
        if isinstance(value, bool) and operator not in {"=", ":", "!="}:
            raise self._unknown(f"filter: {name} is true or false, and neither is less")
        comparisons: dict[str, Callable[[], ColumnElement[bool]]] = {
            "=": lambda: column == value,
            ":": lambda: column == value,
            "!=": lambda: column != value,
            "<": lambda: column < value,
            "<=": lambda: column <= value,
            ">": lambda: column > value,
            ">=": lambda: column >= value,
        }
        return comparisons[operator]()

    def _order(self, text: str) -> list[tuple[str, bool]]:
        order: list[tuple[str, bool]] = []
        for part in (text or "create_time desc").split(","):
            name, _, direction = part.strip().partition(" ")
            if (
                name not in self._fields
                or not self._fields[name].sortable
                or direction.strip() not in {"", "asc", "desc"}
            ):
                raise self._unknown(f"order_by: {part.strip()[:_SHOWN]!r} is not an order of this list")
            order.append((name, direction.strip() == "desc"))
        return [*order, (self._id, order[-1][1])]

    def _unknown(self, problem: str) -> FilterInvalid:
        return FilterInvalid(problem=problem, allowed=", ".join(sorted(self._fields)))

    def _read_token(self, token: str, query_digest: str, order: list[tuple[str, bool]]) -> list[Any]:
        try:
            made_for, values = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        except (ValueError, TypeError, RecursionError):
            raise PageTokenInvalid(problem="it is damaged") from None
        if made_for != query_digest:
            raise PageTokenInvalid(problem="it belongs to another list, filter or order")
        if not isinstance(values, list) or len(values) != len(order):
            raise PageTokenInvalid(problem="it is damaged")
        try:
            return [self._position(name, raw) for (name, _), raw in zip(order, values, strict=True)]
        except (ValueError, TypeError, KeyError):
            raise PageTokenInvalid(problem="it is damaged") from None

    def _position(self, name: str, raw: Any) -> Any:
        """A value out of a token, which anybody may have written: only what its column could hold."""
        value = datetime.fromisoformat(raw["time"]) if isinstance(raw, dict) else raw
        if type(value) is not self._table.model_fields[name].annotation:
            raise TypeError(name)
        return _storable(value)

    def _after(self, order: list[tuple[str, bool]], values: list[Any]) -> ColumnElement[bool]:
        """Rows after the given one, in the order.

        In one direction a comparison of rows, (a, b) < (x, y), for which a database goes to that place in
        an index. In mixed ones a <= x and (a < x or (a = x and b > y) or ...): to the first of a's equals.
        """
        if len({descending for _, descending in order}) == 1:
            columns = [self._compared(name) for name, _ in order]
            here, position = tuple_(*columns), tuple_(*map(_typed, values, columns))
            result: ColumnElement[bool] = here < position if order[0][1] else here > position
            return result
        alternatives: list[ColumnElement[bool]] = []
        equal: list[ColumnElement[bool]] = []
        for (name, descending), there in zip(order, values, strict=True):
            column = self._compared(name)
            alternatives.append(and_(*equal, column < there if descending else column > there))
            equal.append(column == there)
        first, (_, descending) = self._compared(order[0][0]), order[0]
        return and_(first <= values[0] if descending else first >= values[0], or_(*alternatives))


def _typed(value: Any, column: Any) -> ColumnElement[Any]:
    """A value as its column has it: within a row of values it has no column to learn that from."""
    return value if isinstance(value, ColumnElement) else literal(value, column.type)


@lru_cache(maxsize=1024)
def _digest(scope: str, filter_text: str, order: tuple[tuple[str, bool], ...]) -> str:
    return hashlib.sha256(json.dumps([scope, filter_text, order]).encode()).hexdigest()[:16]


def _size(asked: int) -> int:
    return min(asked, MAX_PAGE) if asked > 0 else DEFAULT_PAGE


def _page(rows: list[Any], size: int, query_digest: str, position: Callable[[Any], list[Any]]) -> Page[Any]:
    """The page, of rows that are one more than it if there is a next."""
    token = ""
    if len(rows) > size:
        rows.pop()
        values = [_plain(each) for each in position(rows[-1])]
        token = base64.urlsafe_b64encode(json.dumps([query_digest, values]).encode()).decode().rstrip("=")
    return Page(rows, token)


def _storable(value: Any) -> Any:
    """The value, if every database can hold it; ValueError otherwise, before a database finds it out."""
    if isinstance(value, str):
        value.encode()  # a lone surrogate has no UTF-8: UnicodeEncodeError is a ValueError
        if "\0" in value:
            raise ValueError("PostgreSQL stores no NUL")
    elif isinstance(value, int) and value.bit_length() > 63:
        raise ValueError("more than 64 bits")
    elif isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time needs its zone")
        try:
            return value.astimezone(UTC)
        except OverflowError as problem:
            raise ValueError("before or after all time") from problem
    return value


def _plain(value: Any) -> Any:
    return {"time": value.isoformat()} if isinstance(value, datetime) else value
