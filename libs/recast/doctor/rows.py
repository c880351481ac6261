"""The rows of the three services, with the columns that the doctor reads.

Each class is a table's columns by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from recast.content.v1 import content_pb2
from recast.csbs.v1 import backup_pb2


@dataclass(frozen=True, slots=True)
class Operation:
    """Long-running work. `has_response` and `has_error` are whether those columns are filled."""

    id: str
    project: str
    verb: str
    target: str
    request: bytes
    state: str
    ended: bool
    step: str
    lease_until: float
    end_time: datetime | None
    has_response: bool
    has_error: bool

    @property
    def name(self) -> str:
        """`projects/{project}/operations/{operation}`."""
        return f"projects/{self.project}/operations/{self.id}"


@dataclass(frozen=True, slots=True)
class Step:
    """The recorded result of a step: JSON, or a message."""

    operation_id: str
    name: str
    result: bytes


@dataclass(frozen=True, slots=True)
class Use:
    """An operation's lock on a resource."""

    resource: str
    operation_id: str


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup."""

    name: str
    project: str
    state: str
    image: str
    lock_sequence: int
    disks: bytes
    content: bytes | None
    create_time: datetime

    @property
    def described(self) -> Sequence[backup_pb2.BackupDisk]:
        """Its disks as the API returns them."""
        return backup_pb2.Backup.FromString(self.disks).disks

    @property
    def contents(self) -> Sequence[content_pb2.DiskContent]:
        """The contents of its disks; none until it is sealed."""
        return content_pb2.Content.FromString(self.content or b"").disks


@dataclass(frozen=True, slots=True)
class Lock:
    """An unreleased lock of an image on a backup."""

    backup: str
    image: str
    fencing_token: int
    state: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image."""

    name: str
    project: str
    kind: str
    state: str
    source_backup: str
    lock_token: int
    size_bytes: int
    disk_count: int
    content: bytes | None
    upload_key: str
    upload_is_complete: bool

    @property
    def contents(self) -> Sequence[content_pb2.DiskContent]:
        """The contents of its disks, when it was imported."""
        return content_pb2.Content.FromString(self.content or b"").disks

    @property
    def awaits_bytes(self) -> bool:
        """Whether its upload may be resumed."""
        return self.state == "CREATING" and bool(self.upload_key) and not self.upload_is_complete


@dataclass(frozen=True, slots=True)
class Pin:
    """Work of ECS that reads an image, which must not be deleted meanwhile."""

    image: str
    pin_id: str


@dataclass(frozen=True, slots=True)
class Server:
    """A server."""

    name: str
    state: str
    frozen_for: str
    freeze_id: str


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk."""

    name: str
    role: str
    state: str
    size_bytes: int
    shared: bool
    folder: str
    base: str
    host: str
    tracked_backup: str
    error: bytes | None

    @property
    def awaits_deletion(self) -> bool:
        """Whether it is in ERROR after a failed creation or deletion: its owner deletes it."""
        return self.state == "ERROR" and self.error is not None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A disk's place at a server."""

    server: str
    disk: str
    position: int


@dataclass(frozen=True, slots=True)
class Hold:
    """An image that is being made from a server."""

    server: str
    image: str
    hold_id: str


@dataclass(frozen=True, slots=True)
class Freeze:
    """A freeze of a server; THAWED when it has ended."""

    server: str
    freeze_id: str
    backup: str
    state: str
    answer: bytes
    create_time: datetime

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return self.state != "THAWED"

    @property
    def disks(self) -> Sequence[str]:
        """The frozen disks."""
        # It imports gRPC, which takes a tenth of a second: only when needed.
        from recast.ecs.v1.backup_source_service_pb2 import FreezeServerResponse  # noqa: PLC0415

        return [disk.disk for disk in FreezeServerResponse.FromString(self.answer).disks]
