"""Rows of every kind for the tables of a service, as no service would write them."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, LargeBinary, Table, insert

from recast.database import Database, UtcDateTime
from recast.migrations.migrate import metadata

_BATCH = 1000
_BEGIN = datetime(2026, 3, 1, 23, 59, 59, 999999, tzinfo=UTC)
_TEXTS = ("", "plain", "Zoë's \t\\N \\. \n two lines", "日本 😀", '"quoted", {x}', "NULL")
_BYTES = (b"", bytes(range(256)), b"\\x00", b"\0\0")

_VALUES: dict[type, Callable[[int], Any]] = {
    UtcDateTime: lambda number: _BEGIN + timedelta(microseconds=number),
    LargeBinary: lambda number: _BYTES[number % len(_BYTES)],
    Boolean: lambda number: number % 2 == 1,
    Float: lambda number: 1_790_000_000.123456 / 3 - number,  # of leases, long ago
    BigInteger: lambda number: (1 << 62) + number,
    Integer: lambda number: number,
}


def fill(database: Database, tables: Iterable[Any], rows: int = 12) -> None:
    """Writes as many rows into each table; those of one number refer to each other."""
    for table in metadata(tables).sorted_tables:
        with database.write() as tx:
            for batch in _batches(table, rows):
                tx.session.connection().execute(insert(table), batch)
            tx.commit()


def _batches(table: Table, rows: int) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, rows, _BATCH):
        numbers = range(first, min(rows, first + _BATCH))
        yield [{column.name: _value(column, number) for column in table.columns} for number in numbers]


def _value(column: Column[Any], number: int) -> Any:
    """A value of the column's type. A key, or a reference to a row, has the row's number."""
    if column.nullable and number % 3 == 0:
        return None
    for kind, value in _VALUES.items():
        if isinstance(column.type, kind):
            return value(number)
    if column.primary_key or column.foreign_keys or column.unique or column.name == "server":
        return f"row-{number}"
    return _TEXTS[number % len(_TEXTS)]
