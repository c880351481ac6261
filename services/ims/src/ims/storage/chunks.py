"""The chunk store of imported images."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import structlog

from ims.domain.refusals import ContentDamaged, FileRefused, NotEnoughSpace, VirtualSizeTooLarge
from recast.contentstore import ContentStore, store_refusals
from recast.diskimage import DiskImageError, ImportRefused, IsTooLarge, OutOfSpace, QemuImgMissing
from recast.faults import Refusal, StoreIoFailed, Unavailable, text_without_paths

log = structlog.get_logger()


@contextmanager
def storage_faults(content: str, display_name: str = "") -> Iterator[None]:
    """Turns errors of a chunk store, or of the files of uploads, into refusals about the image `content`.

    `display_name` is what the sender of a refused file calls the image: its id may be generated.
    """
    try:
        with store_refusals(lambda damage: ContentDamaged(image=content, problem=damage)):
            yield
    except IsTooLarge as problem:
        raise VirtualSizeTooLarge(display_name=display_name or content, problem=problem) from problem
    except ImportRefused as problem:  # the fault of the file, wherever it is found
        raise FileRefused(display_name=display_name or content, problem=problem) from problem
    except OutOfSpace as problem:
        raise NotEnoughSpace(needed_bytes=problem.needed_bytes, free_bytes=problem.free_bytes) from problem
    except QemuImgMissing as problem:  # the work is repeated until the operator has installed it
        raise Unavailable(problem=problem) from problem
    except (DiskImageError, OSError) as problem:
        log.error("the storage failed", problem=str(problem))  # callers get no paths
        raise StoreIoFailed(problem=text_without_paths(problem)) from problem


class ImageChunks(ContentStore):
    """The content of every imported image, by project."""

    @property
    def folder(self) -> Path | None:
        """The folder of a store of files; None for another store, whose free bytes are not known."""
        parts = urlsplit(self._url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None

    def damaged(self, content: str, problem: object) -> Refusal:
        """`content` is an image's name."""
        return ContentDamaged(image=content, problem=problem)
