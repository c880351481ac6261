"""One transaction: how it begins, is replayed, and commits, on SQLite and on PostgreSQL alike."""

from recast.unitofwork.columns import UtcDateTime
from recast.unitofwork.database import Database, DatabaseUnusable, Transaction
from recast.unitofwork.listing import Field, Listing, Page
from recast.unitofwork.replay import RequestReplay, find_replay, remember_replay
from recast.unitofwork.resource import ResourceRow, listing_index

__all__ = [
    "Database",
    "DatabaseUnusable",
    "Field",
    "Listing",
    "Page",
    "RequestReplay",
    "ResourceRow",
    "Transaction",
    "UtcDateTime",
    "find_replay",
    "listing_index",
    "remember_replay",
]
