"""The rows of IMS."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, LargeBinary, text
from sqlmodel import Field, SQLModel

from recast.database import UtcDateTime
from recast.operations import TABLES as OPERATION_TABLES
from recast.resources import RequestReplay, ResourceRow, listing_index

STANDS_ON_BACKUP = text(
    "kind = 'FULL_SERVER' AND source_backup <> '' AND (state IN ('CREATING', 'NORMAL') OR lock_token <> 0)"
)
"""Of these images a backup has one, beside the lock of CSBS (R09).

An image in ERROR holds nothing, nor does one that is deleted after it.
"""


class ImageRow(ResourceRow, table=True):
    """An image.

    `details` is a serialized recast.ims.v1.Image with nothing but its preparation and warnings; `defaults` a
    GetProvisioningDefaultsResponse; `content` a recast.content.v1.Content without a key, for an imported
    image alone: that of a full-server image is its backup's.
    """

    __tablename__ = "image"
    __table_args__ = (
        listing_index("image", "create_time"),
        listing_index("image", "display_name"),
        listing_index("image", "size_bytes"),
        listing_index("image", "state", "create_time"),
        listing_index("image", "kind", "create_time"),
        listing_index("image", "source_backup", "create_time"),
        Index(
            "image_of_backup",
            "source_backup",
            unique=True,
            sqlite_where=STANDS_ON_BACKUP,
            postgresql_where=STANDS_ON_BACKUP,
        ),
    )

    display_name: str
    description: str = ""
    kind: str
    state: str
    source_backup: str = ""
    source_server: str = ""
    held_server: str = ""
    """The server that stays stopped until the image is made (R23); empty for a finished backup."""
    lock_token: int = 0
    """The fencing token of the lock on the backup; 0 until the lock is held."""
    lock_request_id: str = ""
    withdrawn: bool = False
    """Its request was refused after it was recorded: the undo of the work removes the row."""
    min_disk_bytes: int = Field(default=0, sa_type=BigInteger)
    size_bytes: int = Field(default=0, sa_type=BigInteger)
    disk_count: int = 0
    os_name: str = ""
    details: bytes = Field(default=b"", sa_column=Column(LargeBinary, nullable=False))
    defaults: bytes = Field(default=b"", sa_column=Column(LargeBinary, nullable=False))
    content: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    error: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    finish_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    upload_key: str = ""
    """The name of the staged file; empty when nothing is uploaded."""
    upload_request_id: str = Field(default="", index=True)
    upload_header: bytes = Field(default=b"", sa_column=Column(LargeBinary, nullable=False))
    upload_is_complete: bool = False
    serialized: bytes = Field(default=b"", sa_column=Column(LargeBinary, nullable=False, server_default=""))
    """The recast.ims.v1.Image of the row, without the bytes uploaded so far."""


class ImagePinRow(SQLModel, table=True):
    """A reader of an image, which forbids its deletion."""

    __tablename__ = "image_pin"

    image: str = Field(primary_key=True)
    pin_id: str = Field(primary_key=True)
    holder: str
    create_time: datetime = Field(sa_type=UtcDateTime)


class EndedPinRow(SQLModel, table=True):
    """The tombstone of a released pin: it refuses a late duplicate of the request to pin."""

    __tablename__ = "ended_pin"

    pin_id: str = Field(primary_key=True)
    image: str = Field(primary_key=True)
    create_time: datetime = Field(sa_type=UtcDateTime)


TABLES = (ImageRow, ImagePinRow, EndedPinRow, RequestReplay, *OPERATION_TABLES)
