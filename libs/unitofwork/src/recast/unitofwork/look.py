"""Statements that are compiled once and run on the driver's own cursor: the reads that are asked for most.

SQLAlchemy takes five times what SQLite does to find a row, to build, look up and wrap what never changes. A
look gives plain tuples in the driver's types; who reads a column whose type is ours asks for `value`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Dialect, Select
from sqlalchemy.types import TypeEngine

Processor = Callable[[Any], Any]


class Look:
    """One statement that reads, and is a snapshot by itself. What varies is a `bindparam` with a name."""

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def rows(self, cursor: Any, dialect: Dialect, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """Every row that it finds."""
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled(self._statement, dialect)
        cursor.execute(compiled.text, compiled.parameters(values))
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


class _Compiled:
    """A statement in one dialect's words, and how values get there."""

    def __init__(self, statement: Select[Any], dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self.text: str = compiled.string
        self._order: list[str] | None = compiled.positiontup  # none where parameters have names
        self._processors: dict[str, Processor] = {}
        for name, parameter in compiled.binds.items():
            processor = parameter.type.dialect_impl(dialect).bind_processor(dialect)
            if processor is not None:
                self._processors[name] = processor
        self._constants = self._processed(
            {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        )

    def parameters(self, values: Mapping[str, object]) -> Any:
        """What the driver takes beside the text."""
        named = self._constants | self._processed(values)
        return named if self._order is None else [named[name] for name in self._order]

    def _processed(self, values: Mapping[str, object]) -> dict[str, object]:
        processors = self._processors
        return {
            name: processors[name](value) if name in processors else value for name, value in values.items()
        }


def value(kind: TypeEngine[Any], raw: Any, dialect: Dialect) -> Any:
    """What a look found in a column of this type, as a session would give it."""
    processor = kind.dialect_impl(dialect).result_processor(dialect, None)
    return raw if processor is None else processor(raw)
