"""The errors of a disk's files; each is a `DiskImageError`."""

from collections.abc import Sequence


class DiskImageError(Exception):
    """A disk's files are damaged, or qemu-img failed; the message carries its first line."""


class QemuImgMissing(DiskImageError):
    """The host lacks a program that every disk needs."""

    def __init__(self, program: str, package: str) -> None:
        super().__init__(f"{program} is not on the PATH: install the package {package}")
        self.package = package


class SourceUnreadable(DiskImageError):
    """qemu-img could not read the image that it was to convert; nothing else failed."""


class OutOfSpace(DiskImageError):
    """A folder has not enough free bytes for what is to be written to it."""

    def __init__(self, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(f"{needed_bytes} bytes are needed, and {free_bytes} are free")
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class DiskBusy(DiskImageError):
    """Another process or thread is using the files. Retryable: nothing was changed.

    `disk_id` is the disk, where it is known. The message names no path: it is shown to tenants.
    """

    def __init__(self, message: str, disk_id: str = "") -> None:
        super().__init__(message)
        self.disk_id = disk_id


class NameRefused(DiskImageError):
    """An id or name that must not become a file name; FORMAT.md gives the pattern."""


class SizeRefused(DiskImageError):
    """A size that a disk or base cannot have."""


class DiskNotFound(DiskImageError):
    """There is no disk with this id."""

    def __init__(self, disk_id: str) -> None:
        super().__init__(f"there is no disk {disk_id}")
        self.disk_id = disk_id


class BaseNotFound(DiskImageError):
    """There is no base with this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no base {name}")
        self.name = name


class BaseInUse(DiskImageError):
    """A base that disks still stand on."""

    def __init__(self, name: str, disk_ids: Sequence[str]) -> None:
        super().__init__(f"base {name} is in use by disks {', '.join(disk_ids)}")
        self.name = name
        self.disk_ids = tuple(disk_ids)


class DiskFrozen(DiskImageError):
    """The disk already has an unmerged freeze, which must be thawed first."""

    def __init__(self, disk_id: str, freeze_id: str) -> None:
        super().__init__(f"disk {disk_id} is frozen by {freeze_id}, which must be thawed first")
        self.disk_id = disk_id
        self.freeze_id = freeze_id


class FreezeNotFound(DiskImageError):
    """The disk is not frozen under this id: never was, or was thawed."""

    def __init__(self, disk_id: str, freeze_id: str) -> None:
        super().__init__(f"disk {disk_id} is not frozen by {freeze_id}")
        self.disk_id = disk_id
        self.freeze_id = freeze_id


class FreezeEnded(DiskImageError):
    """A repeat of a freeze that was thawed: its instant is past."""

    def __init__(self, disk_id: str, freeze_id: str) -> None:
        super().__init__(f"freeze {freeze_id} of disk {disk_id} has been thawed; a freeze id is used once")
        self.disk_id = disk_id
        self.freeze_id = freeze_id
