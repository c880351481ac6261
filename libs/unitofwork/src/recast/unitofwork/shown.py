"""A row as callers see it, kept beside its columns: a read hands it out instead of building it anew.

To build a message of twenty columns takes longer than to read them, and a page has fifty. The table has a
column `shown` of bytes. It is written with every change that goes through a session; what is written past
one must leave it empty, and is then built when it is read. So must a migration, of all rows, that comes with
a field made of columns that were there before.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message
from sqlalchemy import event

Row = TypeVar("Row")


def keep_shown(table: type[Row], message: Callable[[Row], Message]) -> None:
    """Has `shown` written with every new and every changed row of the table."""

    def show(_mapper: Any, _connection: Any, row: Any) -> None:
        row.shown = message(row).SerializeToString()

    event.listen(table, "before_insert", show)
    event.listen(table, "before_update", show)
