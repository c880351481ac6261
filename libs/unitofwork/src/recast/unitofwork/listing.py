"""Lists: `filter` and `order_by` as AIP-160 and AIP-132 have them, and keyset pages with opaque tokens.

Of AIP-160 this knows conditions joined by AND over declared fields: `state = "AVAILABLE" AND display_name =
"night*"`. A page begins after the last row of the one before, by value, so the last page costs what the first
does.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, and_, or_
from sqlmodel import Session, SQLModel, select

from recast.faults import FilterInvalid, PageTokenInvalid

Row = TypeVar("Row", bound=SQLModel)
DEFAULT_PAGE, MAX_PAGE = 50, 1000
_CONDITION = re.compile(r'\s*([a-z_]+)\s*(=|!=|<=|>=|<|>|:)\s*("(?:[^"\\]|\\.)*"|[^\s"]+)\s*')
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
    """How one table is listed. Every order ends with the id, so that it is total."""

    def __init__(self, table: type[Row], fields: Mapping[str, Field], id_column: str = "id") -> None:
        self._table = table
        self._fields = fields
        self._id = id_column

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
        query_digest = hashlib.sha256(json.dumps([scope, filter_text, order]).encode()).hexdigest()[:16]
        size = min(page_size, MAX_PAGE) or DEFAULT_PAGE
        query = select(self._table).where(*where, *conditions)
        if page_token:
            query = query.where(self._after(order, self._read_token(page_token, query_digest)))
        for name, descending in order:
            column = self._column(name)
            query = query.order_by(column.desc() if descending else column.asc())
        rows = list(session.exec(query.limit(size + 1)))
        token = ""
        if len(rows) > size:
            rows.pop()
            values = [_plain(getattr(rows[-1], name)) for name, _ in order]
            token = base64.urlsafe_b64encode(json.dumps([query_digest, values]).encode()).decode().rstrip("=")
        return Page(rows, token)

    def _column(self, name: str) -> Any:
        return getattr(self._table, name)

    def _conditions(self, text: str) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        position = 0
        while text.strip() and position < len(text):
            if conditions:
                joined = _AND.match(text, position)
                if not joined:
                    raise self._unknown(f"filter: expected AND at {text[position:]!r}")
                position = joined.end()
            found = _CONDITION.match(text, position)
            if not found:
                raise self._unknown(
                    f'filter: cannot read {text[position:]!r}; write conditions like state = "X"'
                )
            conditions.append(self._condition(*found.groups()))
            position = found.end()
        return conditions

    def _condition(self, name: str, operator: str, literal: str) -> ColumnElement[bool]:
        field = self._fields.get(name)
        if field is None:
            raise self._unknown(f"filter: there is no field {name}")
        plain = json.loads(literal) if literal.startswith('"') else literal
        if operator in {"=", ":"} and field.parse is str and plain.endswith("*"):
            result: ColumnElement[bool] = field.column.startswith(plain[:-1], autoescape=True)
            return result
        try:
            value = field.parse(plain)
        except (ValueError, KeyError):
            raise self._unknown(f"filter: {plain!r} is no value of {name}") from None
        column = field.column
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
                raise self._unknown(f"order_by: {part.strip()!r} is not an order of this list")
            order.append((name, direction.strip() == "desc"))
        return [*order, (self._id, order[-1][1])]

    def _unknown(self, problem: str) -> FilterInvalid:
        return FilterInvalid(problem=problem, allowed=", ".join(sorted(self._fields)))

    def _read_token(self, token: str, query_digest: str) -> list[Any]:
        try:
            made_for, values = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        except (ValueError, TypeError):
            raise PageTokenInvalid(problem="it is damaged") from None
        if made_for != query_digest:
            raise PageTokenInvalid(problem="it belongs to another list, filter or order")
        return list(values)

    def _after(self, order: list[tuple[str, bool]], values: list[Any]) -> ColumnElement[bool]:
        """Rows after the given one, in the order: a < x or (a = x and b < y) or ..."""
        alternatives: list[ColumnElement[bool]] = []
        equal: list[ColumnElement[bool]] = []
        for (name, descending), raw in zip(order, values, strict=True):
            column = self._column(name)
            value = datetime.fromisoformat(raw["time"]) if isinstance(raw, dict) else raw
            alternatives.append(and_(*equal, column < value if descending else column > value))
            equal.append(column == value)
        return or_(*alternatives)


def _plain(value: Any) -> Any:
    return {"time": value.isoformat()} if isinstance(value, datetime) else value
