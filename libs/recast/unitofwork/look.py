"""Statements that are compiled once and run on the driver's own cursor: those that are asked for most.

SQLAlchemy takes five times what SQLite does to find a row, to build, look up and wrap what never changes. A
look gives plain tuples in the driver's types; who reads a column whose type is ours asks for `value`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Dialect, Insert, LargeBinary, Select, Text, Update, cast, func
from sqlalchemy import select as sa_select
from sqlalchemy.types import TypeEngine

Processor = Callable[[Any], Any]
Row = tuple[Any, ...]


class Look:
    """One statement that reads, and is a snapshot by itself. What varies is a `bindparam` with a name.

    `packed` is for many rows whose first column is bytes, and the others no floats.
    """

    def __init__(self, statement: Select[Any], *, packed: bool = False) -> None:
        self._plain = _Compilations(statement, _Compiled)
        self._packed = _Compilations(statement, _Packed) if packed else self._plain

    def rows(self, cursor: Any, dialect: Dialect, values: Mapping[str, object]) -> list[Row]:
        """Every row that it finds."""
        compiled = (self._packed if dialect.name == "sqlite" else self._plain).of(dialect)
        cursor.execute(compiled.text, compiled.parameters(values))
        return compiled.rows(cursor.fetchall())


class Change:
    """One statement that writes. What varies is a `bindparam` with a name, or a column of an insert.

    A select is one of what it writes by the way.
    """

    def __init__(self, statement: Insert | Update | Select[Any]) -> None:
        self._compilations = _Compilations(statement, _Compiled)
        self._is_given = isinstance(statement, Select) or bool(statement._returning)

    def run(self, cursor: Any, dialect: Dialect, values: Mapping[str, object]) -> list[Row]:
        """What it returns of each row that it wrote; of one that returns nothing, empty rows."""
        cursor.execute(*self.statement(dialect, values))
        return cursor.fetchall() if self._is_given else [()] * cursor.rowcount

    def statement(self, dialect: Dialect, values: Mapping[str, object]) -> tuple[str, list[object]]:
        """Its text, and what belongs to it."""
        compiled = self._compilations.of(dialect)
        return compiled.text, compiled.parameters(values)


class _Compilations:
    """A statement in the words of each dialect that it was asked in."""

    def __init__(self, statement: Any, kind: "type[_Compiled]") -> None:
        self._statement = statement
        self._kind = kind
        self._known: dict[str, _Compiled] = {}

    def of(self, dialect: Dialect) -> "_Compiled":
        """Compiled once."""
        known = self._known.get(dialect.name)
        if known is None:
            known = self._known[dialect.name] = self._kind(self._statement, _numbered(dialect))
        return known


def _numbered(dialect: Dialect) -> Dialect:
    """The same, with parameters as SQLite's driver and `KeptStatements` have them."""
    kind: Any = type(dialect)
    return dialect if dialect.positional else kind(paramstyle="numeric_dollar")


class _Compiled:
    """A statement in one dialect's words, and how values get there."""

    def __init__(self, statement: Select[Any] | Insert | Update, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self.text: str = compiled.string
        processors: dict[str, Processor | None] = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect)
            for name, bind in compiled.binds.items()
        }
        self._order = [(name, processors[name]) for name in compiled.positiontup]
        self._constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}

    def parameters(self, values: Mapping[str, object]) -> list[object]:
        """What the driver takes beside the text."""
        given = {**self._constants, **values} if self._constants else values
        return [given[name] if process is None else process(given[name]) for name, process in self._order]

    def rows(self, found: list[Row]) -> list[Row]:
        """The statement's rows, of what the driver found."""
        return found


class _Packed(_Compiled):
    """A statement whose rows come as one: the bytes one after the other, and JSON of all the rest.

    SQLite's driver gives up Python's lock at each column of each row, so at a page of fifty other threads
    take it some fifty times. Both aggregates see the rows in the order of the statement.
    """

    def __init__(self, statement: Select[Any], dialect: Dialect) -> None:
        first, *others = statement.subquery().c
        joined = cast(func.group_concat(cast(first, Text), ""), LargeBinary)
        super().__init__(
            sa_select(joined, func.json_group_array(func.json_array(func.length(first), *others))), dialect
        )

    def rows(self, found: list[Row]) -> list[Row]:
        """The rows, cut out of the one."""
        [(joined, told)] = found
        rows, at = [], 0
        for length, *others in json.loads(told):
            rows.append((joined[at : at + length], *others))
            at += length
        return rows


def value(kind: TypeEngine[Any], raw: Any, dialect: Dialect) -> Any:
    """What a look found in a column of this type, as a session would give it."""
    processor = kind.dialect_impl(dialect).result_processor(dialect, None)
    return raw if processor is None else processor(raw)
