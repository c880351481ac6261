"""The rows of ECS."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, LargeBinary, UniqueConstraint
from sqlmodel import Field, SQLModel

from recast.database import UtcDateTime
from recast.operations import TABLES as OPERATION_TABLES
from recast.resources import RequestReplay, ResourceRow, listing_index


class ServerRow(ResourceRow, table=True):
    """A server."""

    __tablename__ = "server"
    __table_args__ = (
        listing_index("server", "create_time"),
        listing_index("server", "display_name"),
        listing_index("server", "state", "create_time"),
        listing_index("server", "image", "create_time"),
    )

    display_name: str
    description: str = ""
    state: str
    image: str = ""
    host: str = ""
    frozen_for: str = ""
    """The backup that the server is frozen for; empty when it is not frozen."""
    freeze_id: str = ""
    leave_stopped: bool = False
    """Whether the server is STOPPED, not RUNNING, after its creation."""
    error: bytes | None = Field(default=None, sa_column=Column(LargeBinary))


class DiskRow(ResourceRow, table=True):
    """A disk. `folder` is never used again: a new disk with the same id gets another."""

    __tablename__ = "disk"
    __table_args__ = (
        listing_index("disk", "create_time"),
        listing_index("disk", "display_name"),
        listing_index("disk", "size_bytes"),
        listing_index("disk", "state", "create_time"),
        listing_index("disk", "role", "create_time"),
    )

    display_name: str
    role: str
    state: str
    size_bytes: int = Field(sa_type=BigInteger)
    shared: bool = False
    folder: str = Field(unique=True)
    base: str = Field(default="", index=True)
    """The base of the disk in the image cache; empty for none."""
    source_image: str = ""
    source_image_disk: str = ""
    host: str = ""
    tracked_backup: str = ""
    """The backup whose content the layers under the active layer equal; empty when there is none."""
    error: bytes | None = Field(default=None, sa_column=Column(LargeBinary))


class AttachmentRow(SQLModel, table=True):
    """The attachment of a disk to a server, at a position."""

    __tablename__ = "attachment"
    __table_args__ = (UniqueConstraint("server", "position"),)

    server: str = Field(primary_key=True, foreign_key="server.name", ondelete="CASCADE")
    disk: str = Field(primary_key=True, foreign_key="disk.name", ondelete="CASCADE", index=True)
    position: int


class ImageHoldRow(SQLModel, table=True):
    """An image that is being made from a server (R23)."""

    __tablename__ = "image_hold"

    server: str = Field(primary_key=True, foreign_key="server.name", ondelete="CASCADE")
    image: str = Field(primary_key=True)
    hold_id: str = Field(default="", sa_column_kwargs={"server_default": ""})


class EndedHoldRow(SQLModel, table=True):
    """The tombstone of a freed hold: it refuses a late duplicate of the request to hold."""

    __tablename__ = "ended_hold"

    hold_id: str = Field(primary_key=True)
    server: str = Field(primary_key=True)
    create_time: datetime = Field(sa_type=UtcDateTime)


class FreezeRow(SQLModel, table=True):
    """A freeze of a server; once THAWED a tombstone, so that a late duplicate does not freeze again.

    `answer` is a serialized FreezeServerResponse.
    """

    __tablename__ = "freeze"

    server: str = Field(primary_key=True)
    freeze_id: str = Field(primary_key=True)
    backup: str
    state: str
    answer: bytes = Field(default=b"", sa_column=Column(LargeBinary, nullable=False))
    create_time: datetime = Field(sa_type=UtcDateTime)


class HostRow(SQLModel, table=True):
    """A machine with disks, by the last report of its process."""

    __tablename__ = "host"

    name: str = Field(primary_key=True)
    data_dir: str
    capacity_bytes: int = Field(sa_type=BigInteger)
    free_bytes: int = Field(sa_type=BigInteger)
    seen: float
    """The time of the last report, in seconds since 1970 by the database's clock."""


TABLES = (
    HostRow,
    ServerRow,
    DiskRow,
    AttachmentRow,
    ImageHoldRow,
    EndedHoldRow,
    FreezeRow,
    RequestReplay,
    *OPERATION_TABLES,
)
