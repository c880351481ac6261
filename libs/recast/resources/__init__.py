"""Rows of named resources: version and etag, request replay, listing."""

from recast.resources.filters import Field
from recast.resources.listing import Listing, Page
from recast.resources.replay import RequestReplay, commit_change, find_replay
from recast.resources.resource import ResourceRow, listing_index, lock_row

__all__ = [
    "Field",
    "Listing",
    "Page",
    "RequestReplay",
    "ResourceRow",
    "commit_change",
    "find_replay",
    "listing_index",
    "lock_row",
]
