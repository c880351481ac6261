"""Pages of a list, by keyset: opaque tokens hold the position of the last row.

A page begins after that row by value, so the last page costs the same as the first, if an index has the
project, the fields compared by equality, the order and the name, in this sequence (`listing_index`).
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from sqlalchemy import ColumnElement, and_, literal, or_, select, tuple_
from sqlmodel import Session, SQLModel

from recast.faults import PageTokenInvalid
from recast.resources.filters import Field, Fields, Order, storable

Row = TypeVar("Row", bound=SQLModel)
Answer = TypeVar("Answer", bound=Message)
DEFAULT_PAGE, MAX_PAGE = 50, 1000
MAX_PAGE_BYTES = 3 << 20
"""The most bytes of a page's messages: a gRPC client refuses answers of more than 4 MiB by default."""


@dataclass(frozen=True)
class Page(Generic[Row]):
    """A page of rows: of all rows after them, or the last page."""

    rows: Sequence[Row]
    is_last: bool
    _token_after: Callable[[Row], str]

    @property
    def next_token(self) -> str:
        """The token of the next page; empty on the last."""
        return "" if self.is_last else self._token_after(self.rows[-1])

    def answer(self, messages: Sequence[Answer]) -> tuple[Sequence[Answer], str]:
        """The rows' messages, as many as fit into an answer but at least one, and the next page's token."""
        sizes = accumulate(each.ByteSize() for each in messages)
        count = max(1, sum(size <= MAX_PAGE_BYTES for size in sizes))
        if count >= len(messages):
            return messages, self.next_token
        return messages[:count], self._token_after(self.rows[count - 1])


class Listing(Generic[Row]):
    """The list of one table: every order ends with the unique column, so that it is total."""

    def __init__(self, table: type[Row], fields: Mapping[str, Field], tie_breaker: str = "id") -> None:
        self._table = table
        self._columns: Any = table.__table__.c  # type: ignore[attr-defined]
        self._fields = Fields(fields, tie_breaker)

    def page(
        self,
        session: Session,
        *where: ColumnElement[bool],
        scope: str,
        filter_text: str,
        order_by: str,
        page_size: int,
        page_token: str,
        columns: Sequence[Any] = (),
    ) -> Page[Any]:
        """One page of the rows that match `where` and the filter.

        Whole rows, or tuples that begin with `columns` if given. A token is bound to the query and to
        `scope`, the project. FilterInvalid, PageTokenInvalid.
        """
        conditions, order = self._fields.conditions(filter_text), self._fields.order(order_by)
        positions = [self._columns[name] for name, _ in order]
        digest = _digest(scope, filter_text, order)
        size = min(page_size, MAX_PAGE) if page_size > 0 else DEFAULT_PAGE
        query = select(*columns, *positions) if columns else select(self._table)
        query = query.where(*where, *conditions).order_by(
            *(
                self._columns[name].desc() if descends else self._columns[name].asc()
                for name, descends in order
            )
        )
        if page_token:
            query = query.where(self._after(order, self._read_token(page_token, digest, order)))
        found = session.connection().execute if columns else session.scalars
        rows = list(found(query.limit(size + 1)))

        def token_after(row: Any) -> str:
            return _token(
                digest, row[len(columns) :] if columns else [getattr(row, name) for name, _ in order]
            )

        return Page(rows[:size], len(rows) <= size, token_after)

    def _after(self, order: Order, position: list[Any]) -> ColumnElement[bool]:
        """The rows after a position.

        In one direction a comparison of rows, (a, b) < (x, y), for which a database seeks to that position
        in an index. In mixed ones a <= x and (a < x or (a = x and b > y) or ...): to the first of a's equals.
        """
        columns = [self._columns[name] for name, _ in order]
        if len({descends for _, descends in order}) == 1:
            values = [literal(value, column.type) for value, column in zip(position, columns, strict=True)]
            here, there = tuple_(*columns), tuple_(*values)
            result: ColumnElement[bool] = here < there if order[0][1] else here > there
            return result
        alternatives: list[ColumnElement[bool]] = []
        equal: list[ColumnElement[bool]] = []
        for column, (_, descends), value in zip(columns, order, position, strict=True):
            alternatives.append(and_(*equal, column < value if descends else column > value))
            equal.append(column == value)
        first, (_, descends) = columns[0], order[0]
        return and_(first <= position[0] if descends else first >= position[0], or_(*alternatives))

    def _read_token(self, token: str, digest: str, order: Order) -> list[Any]:
        try:
            made_for, values = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            if made_for != digest:
                raise PageTokenInvalid(problem="it belongs to another list, filter or order")
            return [self._value(name, raw) for (name, _), raw in zip(order, values, strict=True)]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise PageTokenInvalid(problem="it is damaged") from None

    def _value(self, name: str, raw: Any) -> Any:
        """A value of a token, which may be forged: only values that its column could hold."""
        value = datetime.fromisoformat(raw["time"]) if isinstance(raw, dict) else raw
        if type(value) is not self._table.model_fields[name].annotation:
            raise TypeError(name)
        return storable(value)


def _digest(scope: str, filter_text: str, order: Order) -> str:
    return hashlib.sha256(json.dumps([scope, filter_text, order]).encode()).hexdigest()[:16]


def _token(digest: str, position: Sequence[Any]) -> str:
    values = [{"time": each.isoformat()} if isinstance(each, datetime) else each for each in position]
    return base64.urlsafe_b64encode(json.dumps([digest, values]).encode()).decode().rstrip("=")
