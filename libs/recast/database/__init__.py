"""A service's database: one transaction on two engines, SQLite in one file or PostgreSQL."""

from recast.database.columns import UtcDateTime
from recast.database.database import Database
from recast.database.engines import DatabaseUnusable
from recast.database.postgresql import lock_name
from recast.database.transaction import Transaction

__all__ = ["Database", "DatabaseUnusable", "Transaction", "UtcDateTime", "lock_name"]
