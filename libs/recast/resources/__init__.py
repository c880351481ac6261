"""Rows of named resources: version and etag, request replay, listing."""

from recast.resources.filters import Field, boolean, choice
from recast.resources.listing import Listing, Page
from recast.resources.replay import RequestReplay, commit_change, find_replay, forget_replay
from recast.resources.resource import ResourceRow, listing_index, lock_row

__all__ = [
    "Field",
    "Listing",
    "Page",
    "RequestReplay",
    "ResourceRow",
    "boolean",
    "choice",
    "commit_change",
    "find_replay",
    "forget_replay",
    "listing_index",
    "lock_row",
]
