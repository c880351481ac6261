"""Texts in the order of their bytes, as SQLite has them anyway; PostgreSQL has its locale's."""

from typing import Any

from sqlalchemy import ColumnElement, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


def by_bytes(column: Any) -> ColumnElement[str]:
    """The column as lists compare it, and as `listing_index` holds it.

    PostgreSQL finds nothing in such an index by the column as it is, not even what is equal.
    """
    return _ByBytes(column)


class _ByBytes(FunctionElement[str]):
    name = "by_bytes"
    type = String()
    inherit_cache = True


@compiles(_ByBytes)
def _as_it_is(element: _ByBytes, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(element.clauses, **kw)


@compiles(_ByBytes, "postgresql")
def _collated(element: _ByBytes, compiler: SQLCompiler, **kw: Any) -> str:
    return f'({compiler.process(element.clauses, **kw)}) COLLATE "C"'
