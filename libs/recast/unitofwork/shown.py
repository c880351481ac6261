"""A row as callers see it, kept beside its columns: a read hands it out instead of building it anew.

To build a message of twenty columns takes longer than to read them, and a page has fifty. The table has a
column `shown` of bytes. It is written with every change that goes through a session; what is written past
one must change nothing that is in it, or leave it empty, to be built when it is read. So must a migration, of
all rows, that comes with a field made of columns that were there before.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from google.protobuf.message import Message
from sqlalchemy import event

Row = TypeVar("Row")


def joined(number: int, messages: Iterable[bytes]) -> bytes:
    """A repeated field of messages, of the given number, as its message has it when it is serialized."""
    tag = bytes([number << 3 | 2])
    parts: list[bytes] = []
    for message in messages:
        parts += (tag, _varint(len(message)), message)
    return b"".join(parts)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def keep_shown(table: type[Row], message: Callable[[Row], Message]) -> None:
    """Has `shown` written with every new and every changed row of the table."""
    keep(table, "shown", lambda row: message(row).SerializeToString())


def keep(table: type[Row], column: str, value: Callable[[Row], object]) -> None:
    """Has a column that is made of others written with them, when a session writes the row."""

    def write(_mapper: Any, _connection: Any, row: Any) -> None:
        setattr(row, column, value(row))

    event.listen(table, "before_insert", write)
    event.listen(table, "before_update", write)
