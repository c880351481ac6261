"""The chunk store of imported images."""

from collections.abc import Iterator
from contextlib import contextmanager

from ims.domain.refusals import ContentDamaged
from recast.contentstore import ContentStore, store_refusals
from recast.diskimage import DiskImageError
from recast.faults import Refusal, StoreIoFailed


@contextmanager
def storage_faults(content: str) -> Iterator[None]:
    """Turns errors of a chunk store, or of the files of uploads, into refusals about the image `content`."""
    try:
        with store_refusals(lambda damage: ContentDamaged(image=content, problem=damage)):
            yield
    except (DiskImageError, OSError) as problem:
        raise StoreIoFailed(problem=problem) from problem


class ImageChunks(ContentStore):
    """The content of every imported image, by project."""

    def damaged(self, content: str, problem: object) -> Refusal:
        """`content` is an image's name."""
        return ContentDamaged(image=content, problem=problem)
