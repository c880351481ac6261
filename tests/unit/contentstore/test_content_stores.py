"""A service's chunk store: its errors as refusals, and its location for peers."""

from pathlib import Path

import pytest

from recast.chunkstore import ChunkCorrupt, IndexMissing, IndexRef, StoreIoError, StoreUnavailable
from recast.contentstore import ContentStore, open_content, store_refusals
from recast.faults import Conflict, Kind, Refusal, StoreIoFailed, Unavailable


class Damaged(Refusal):
    """The content differs from the written content."""

    kind = Kind.DATA_LOSS
    reason = "CONTENT_DAMAGED"
    message = "{content}: {problem}"


class Chunks(ContentStore):
    """A service's store."""

    def damaged(self, content: str, problem: object) -> Refusal:
        """The service's own refusal."""
        return Damaged(content=content, problem=problem)


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (StoreUnavailable("unreachable"), Unavailable),
        (StoreIoError("full"), StoreIoFailed),
        (ChunkCorrupt("chunk"), Damaged),
        (IndexMissing("index"), Damaged),
        (Conflict(resource="row"), Conflict),
        (OSError("not the store's"), OSError),
    ],
)
def test_errors_of_the_store_are_refusals(error: Exception, refusal: type[Exception]) -> None:
    """Each error of a chunk store is raised as its refusal; any other error passes unchanged."""
    with (
        pytest.raises(refusal),
        store_refusals(lambda damage: Damaged(content="backup", problem=damage)),
    ):
        raise error


def test_a_missing_index_is_a_refusal_about_the_content(tmp_path: Path) -> None:
    """Inside `open` the store's errors name the content that it was opened for."""
    chunks = Chunks(tmp_path.as_uri(), bytes(32))
    with pytest.raises(Damaged) as caught, chunks.open("demo", "backup") as store:
        store.read_index(IndexRef("none", "00"))
    assert caught.value.facts["content"] == "backup"


def test_a_location_is_what_a_peer_opens(tmp_path: Path) -> None:
    """A peer that gets the location has the project's partition, and no other project's key."""
    chunks = Chunks(tmp_path.as_uri(), bytes(32))
    assert chunks.location("demo").key != chunks.location("other").key
    with open_content(chunks.location("demo")) as store:
        assert list(store.list_indexes()) == []
