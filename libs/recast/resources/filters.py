"""`filter` and `order_by` of lists, by AIP-160 and AIP-132.

Of AIP-160 this supports conditions over declared fields, joined by AND: `state = "AVAILABLE" AND
display_name = "night*"`.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from sqlalchemy import ColumnElement, func

from recast.faults import FilterInvalid

_CONDITION = re.compile(r'\s*([a-z_]+)\s*(=|!=|<=|>=|<|>|:)\s*("(?:[^"\\]|\\.)*"|[^\s"]+)\s*')
_AND = re.compile(r"AND(?=\s)")
_Compare = Callable[[Any, Any], ColumnElement[bool]]
_COMPARISONS: dict[str, _Compare] = {"=": eq, ":": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
_EQUALITIES = {"=", ":", "!="}
_MAX_FILTER = 2048
_MAX_QUOTED = 40
"""The most characters of an invalid text that a refusal quotes."""

Order = list[tuple[str, bool]]
"""Columns by name, each with its direction: True for descending."""


@dataclass(frozen=True)
class Field:
    """A field for filters and orders: its column, and the parser of its literals."""

    column: Any
    parse: Callable[[str], Any] = str
    sortable: bool = False
    values: Collection[str] = ()
    """The literals that `parse` takes, where they are few; a refusal names them."""


def choice(column: Any, values: Iterable[str], prefix: str = "") -> Field:
    """A field of an enum; a literal may have the prefix of the contract's enum, `BACKUP_STATE_`."""
    known = {str(each): each for each in values}
    return Field(column, lambda text: known[text.removeprefix(prefix)], values=known)


def boolean(column: Any) -> Field:
    """A field that is true or false."""
    known = {"true": True, "false": False}
    return Field(column, known.__getitem__, values=known)


@dataclass(frozen=True)
class Fields:
    """The declared fields of one list; `tie_breaker` is the unique column that ends every order."""

    by_name: Mapping[str, Field]
    tie_breaker: str

    def conditions(self, text: str) -> list[ColumnElement[bool]]:
        """The conditions of a filter; FilterInvalid with the unreadable text and the known fields."""
        if len(text) > _MAX_FILTER:  # exceeding a database's own limit would be a bug
            raise self._invalid(f"filter: longer than {_MAX_FILTER} characters")
        conditions: list[ColumnElement[bool]] = []
        position = 0
        while text.strip() and position < len(text):
            if conditions:
                conjunction = _AND.match(text, position)
                if not conjunction:
                    raise self._invalid(f"filter: expected AND at {text[position:][:_MAX_QUOTED]!r}")
                position = conjunction.end()
            found = _CONDITION.match(text, position)
            if not found:
                quoted = repr(text[position:][:_MAX_QUOTED])
                raise self._invalid(f'filter: cannot read {quoted}; write conditions like state = "X"')
            conditions.append(self._condition(*found.groups()))
            position = found.end()
        return conditions

    def order(self, text: str) -> Order:
        """The columns of an order, newest first by default; FilterInvalid for one that is not sortable."""
        order: Order = []
        for part in (text or "create_time desc").split(","):
            name, _, direction = part.strip().partition(" ")
            field = self.by_name.get(name)
            if field is None or not field.sortable or direction.strip() not in {"", "asc", "desc"}:
                sortable = [each for each, field in self.by_name.items() if field.sortable]
                problem = f"order_by: {part.strip()[:_MAX_QUOTED]!r} is not an order of this list"
                raise FilterInvalid(problem=problem, allowed=", ".join(sorted(sortable)))
            order.append((name, direction.strip() == "desc"))
        return [*order, (self.tie_breaker, order[-1][1])]

    def _condition(self, name: str, operator: str, literal: str) -> ColumnElement[bool]:
        field = self.by_name.get(name)
        if field is None:
            raise self._invalid(f"filter: there is no field {name[:_MAX_QUOTED]}")
        try:
            plain = json.loads(literal) if literal.startswith('"') else literal
            if field.parse is str and plain.endswith("*"):
                if operator not in _EQUALITIES:
                    raise self._invalid(f"filter: {literal[:_MAX_QUOTED]} is a prefix, which has no order")
                prefix = storable(plain[:-1])
                # Not LIKE: SQLite's ignores case, PostgreSQL's does not.
                return _COMPARISONS[operator](func.substr(field.column, 1, len(prefix)), prefix)
            value = storable(field.parse(plain))
        except (ValueError, KeyError):
            known = f": write one of {', '.join(field.values)}" if field.values else ""
            raise self._invalid(f"filter: {literal[:_MAX_QUOTED]} is no value of {name}{known}") from None
        if isinstance(value, bool) and operator not in _EQUALITIES:
            raise self._invalid(f"filter: {name} is true or false, and neither is less")
        return _COMPARISONS[operator](field.column, value)

    def _invalid(self, problem: str) -> FilterInvalid:
        return FilterInvalid(problem=problem, allowed=", ".join(sorted(self.by_name)))


def storable(value: Any) -> Any:
    """The value, if both engines can hold it; ValueError otherwise, before the database fails with a bug."""
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
