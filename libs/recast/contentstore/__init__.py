"""A service's access to the chunk store: each project has its own partition of it, under its own key.

The chunk store's errors become refusals, and unreferenced chunks of a project are collected.
"""

from recast.contentstore.collection import COLLECT_CHUNKS, CollectChunks, record_collection
from recast.contentstore.store import ContentStore, PeerStores, partition_name, store_refusals

__all__ = [
    "COLLECT_CHUNKS",
    "CollectChunks",
    "ContentStore",
    "PeerStores",
    "partition_name",
    "record_collection",
    "store_refusals",
]
