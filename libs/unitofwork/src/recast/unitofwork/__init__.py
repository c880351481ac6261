"""One transaction: how it begins, is replayed, and commits, on SQLite and on PostgreSQL alike."""

from recast.unitofwork.columns import UtcDateTime
from recast.unitofwork.database import Database, Transaction
from recast.unitofwork.engines import DatabaseUnusable
from recast.unitofwork.listing import Field, Listing, Page
from recast.unitofwork.look import Look
from recast.unitofwork.replay import RequestReplay, find_replay, remember_replay
from recast.unitofwork.resource import ResourceRow, listing_index
from recast.unitofwork.shown import joined, keep_shown

__all__ = [
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
    "find_replay",
    "joined",
    "keep_shown",
    "listing_index",
    "remember_replay",
]
