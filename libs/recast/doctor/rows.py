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
    parent: str
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
    exclusive: bool


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup."""

    name: str
    project: str
    version: int
    display_name: str
    description: str
    server: str
    state: str
    image_ready: bool
    incremental: bool
    size_bytes: int
    stored_bytes: int
    image: str
    lock_sequence: int
    disks: bytes
    content: bytes | None
    error: bytes | None
    create_time: datetime
    freeze_time: datetime | None
    finish_time: datetime | None
    serialized: bytes

    @property
    def described(self) -> Sequence[backup_pb2.BackupDisk]:
        """Its disks as the API returns them."""
        return backup_pb2.Backup.FromString(self.disks).disks

    @property
    def answer(self) -> backup_pb2.Backup:
        """The message that the API answers with; empty when it is made of the row at each call."""
        return backup_pb2.Backup.FromString(self.serialized)

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
    version: int
    display_name: str
    description: str
    kind: str
    state: str
    source_backup: str
    source_server: str
    held_server: str
    lock_token: int
    min_disk_bytes: int
    size_bytes: int
    disk_count: int
    os_name: str
    defaults: bytes
    content: bytes | None
    error: bytes | None
    finish_time: datetime | None
    upload_key: str
    upload_is_complete: bool
    serialized: bytes

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
    holder: str


@dataclass(frozen=True, slots=True)
class EndedPin:
    """The tombstone of a released pin."""

    image: str
    pin_id: str


@dataclass(frozen=True, slots=True)
class Server:
    """A server."""

    name: str
    project: str
    state: str
    image: str
    host: str
    frozen_for: str
    freeze_id: str
    error: bytes | None


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk."""

    name: str
    project: str
    role: str
    state: str
    size_bytes: int
    shared: bool
    folder: str
    base: str
    source_image: str
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
class EndedHold:
    """The tombstone of a released hold."""

    server: str
    hold_id: str


@dataclass(frozen=True, slots=True)
class Host:
    """A machine with disks."""

    name: str


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
