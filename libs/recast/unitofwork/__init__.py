"""One transaction: how it begins, is replayed, and commits, on SQLite and on PostgreSQL alike."""

from recast.unitofwork.by_bytes import by_bytes
from recast.unitofwork.columns import UtcDateTime
from recast.unitofwork.compare_and_set import CompareAndSet
from recast.unitofwork.database import Database
from recast.unitofwork.engines import DatabaseUnusable
from recast.unitofwork.listing import Field, Listing, Page
from recast.unitofwork.look import Look, value
from recast.unitofwork.replay import RequestReplay, find_replay, remember_replay
from recast.unitofwork.resource import ResourceRow, listing_index
from recast.unitofwork.shown import joined, keep, keep_shown
from recast.unitofwork.transaction import Transaction

__all__ = [
    "CompareAndSet",
    "Database",
    "DatabaseUnusable",
    "Field",
    "Listing",
    "Look",
    "Page",
    "RequestReplay",
    "ResourceRow",
    "Transaction",
    "UtcDateTime",
    "by_bytes",
    "find_replay",
    "joined",
    "keep",
    "keep_shown",
    "listing_index",
    "remember_replay",
    "value",
]
