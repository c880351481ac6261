"""The rows of CSBS."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, LargeBinary
from sqlmodel import Field, SQLModel

from recast.database import UtcDateTime
from recast.operations import TABLES as OPERATION_TABLES
from recast.resources import RequestReplay, ResourceRow, listing_index


class BackupRow(ResourceRow, table=True):
    """A backup.

    `disks` is a serialized recast.csbs.v1.Backup with nothing but its disks; `content` a
    recast.content.v1.Content.
    """

    __tablename__ = "backup"
    __table_args__ = (
        listing_index("backup", "create_time"),
        listing_index("backup", "display_name"),
        listing_index("backup", "size_bytes"),
        listing_index("backup", "state", "create_time"),
        listing_index("backup", "server", "create_time"),
    )

    display_name: str
    description: str = ""
    server: str
    server_display_name: str = ""
    state: str
    image_ready: bool = False
    incremental: bool = False
    size_bytes: int = Field(default=0, sa_type=BigInteger)
    stored_bytes: int = Field(default=0, sa_type=BigInteger)
    image: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """The image whose lock holds the backup; empty when none does."""
    lock_sequence: int = 0
    """The token of the last lock; the next one's is higher."""
    full: bool = False
    disks: bytes = Field(default=b"", sa_column=Column(LargeBinary, nullable=False))
    content: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    error: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    freeze_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finish_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    serialized: bytes = Field(default=b"", sa_column=Column(LargeBinary, nullable=False, server_default=""))
    """The recast.csbs.v1.Backup of the row: to build it takes ten times as long as to read it."""


class ImageLockRow(SQLModel, table=True):
    """A lock of an image on a backup, or the tombstone of one.

    Outlives the backup, so that a late duplicate of its request stays refused.
    """

    __tablename__ = "image_lock"

    backup: str = Field(primary_key=True)
    request_id: str = Field(primary_key=True)
    image: str
    fencing_token: int
    state: str
    create_time: datetime = Field(sa_type=UtcDateTime)


TABLES = (BackupRow, ImageLockRow, RequestReplay, *OPERATION_TABLES)
