"""The free bytes of the file systems that imports write to."""

from collections.abc import Mapping
from pathlib import Path

from ims.domain.refusals import NotEnoughSpace
from recast.diskimage import free_bytes

# An upload leaves so much free that databases can lay their reserve.
_LEAST_FREE_BYTES = 32 << 20


class Space:
    """Refuses what would leave less than `reserve_bytes` free.

    A check and not a claim: of two imports that fit one by one, the later may still meet a full storage.
    """

    def __init__(self, reserve_bytes: int) -> None:
        self._reserve_bytes = reserve_bytes

    def check(self, needs: Mapping[Path, int]) -> None:
        """NotEnoughSpace, unless each file system has room for the bytes that its folders need together."""
        needed: dict[int, int] = {}
        folders: dict[int, Path] = {}
        for folder, size_bytes in needs.items():
            existing = next(each for each in (folder, *folder.parents) if each.exists())
            device = existing.stat().st_dev
            needed[device] = needed.get(device, 0) + size_bytes
            folders[device] = existing
        for device, size_bytes in needed.items():
            free = max(free_bytes(folders[device]) - self._reserve_bytes, 0)
            if size_bytes > free:
                raise NotEnoughSpace(needed_bytes=size_bytes, free_bytes=free)

    def check_write(self, folder: Path, size_bytes: int) -> None:
        """NotEnoughSpace when writing the next bytes of an upload would fill the storage."""
        free = max(free_bytes(folder) - min(self._reserve_bytes, _LEAST_FREE_BYTES), 0)
        if size_bytes > free:
            raise NotEnoughSpace(needed_bytes=size_bytes, free_bytes=free)
