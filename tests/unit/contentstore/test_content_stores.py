"""A service's chunk store: its errors as refusals, and its location for peers."""

from pathlib import Path

import pytest

from recast.chunkstore import ChunkCorrupt, IndexMissing, IndexRef, StoreIoError, StoreUnavailable
from recast.content.v1 import content_pb2
from recast.contentstore import ContentStore, PeerStores, store_refusals
from recast.faults import Conflict, Kind, Refusal, StoreIoFailed, StoreNotAllowed, Unavailable


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
    with PeerStores(tmp_path.as_uri()).open(chunks.location("demo")) as store:
        assert list(store.list_indexes()) == []


ALLOWED = "file:///srv/recast/csbs  s3://recast/ims/\n"


@pytest.mark.parametrize(
    "url",
    [
        "file:///proc/self",
        "file:///srv/recast/csbs/..",
        "file:///srv/recast/csbs/../ims",
        "file:///srv/recast/csbs/deeper",
        "file:///srv/recast/csb",
        "file://localhost/srv/recast/csbs",
        "file:///srv//recast/csbs",
        "file:///srv/recast/csbs%2f",
        "FILE:///srv/recast/csbs",
        "s3://recast",
        "s3://recast/ims2",
        "s3://other/ims",
        "memory://",
        "file:///srv/recast/csbs s3://recast/ims",
        "",
        "/",
    ],
)
@pytest.mark.fault("FAULT-STORES")
def test_a_store_of_no_list_is_not_opened(url: str) -> None:
    """A location that a peer sends is allowed only if its URL is one of the service's own list."""
    with pytest.raises(StoreNotAllowed) as refused:
        PeerStores(ALLOWED).check(content_pb2.ContentStore(url=url))
    assert (refused.value.kind, refused.value.facts) == (Kind.PERMISSION_DENIED, {"store": url})


@pytest.mark.fault("FAULT-STORES")
def test_a_folder_of_no_list_is_not_touched(tmp_path: Path) -> None:
    """A store that is not in the list is refused before it is opened: opening makes its settings."""
    location = content_pb2.ContentStore(url=tmp_path.as_uri(), project="demo", key=bytes(32))
    with pytest.raises(StoreNotAllowed):
        PeerStores(ALLOWED).open(location)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("urls", ["", " \n"])
@pytest.mark.fault("FAULT-STORES")
def test_an_empty_list_opens_nothing(urls: str) -> None:
    """Without a list no store of a peer is opened, the one without a URL neither."""
    for url in ("file:///srv/recast/csbs", ""):
        with pytest.raises(StoreNotAllowed):
            PeerStores(urls).check(content_pb2.ContentStore(url=url))


def test_a_slash_at_the_end_makes_no_other_store() -> None:
    """A URL is the same store with a slash at its end, in the list and in a location."""
    for url in ("file:///srv/recast/csbs", "file:///srv/recast/csbs/", "s3://recast/ims", "s3://recast/ims/"):
        PeerStores(ALLOWED).check(content_pb2.ContentStore(url=url))
