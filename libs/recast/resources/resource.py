"""The columns of every resource's row."""

from datetime import datetime
from typing import TypeVar

from sqlalchemy import Index
from sqlmodel import Field, Session, SQLModel, select

from recast.database import UtcDateTime, lock_name
from recast.faults import EtagMismatch


def listing_index(table: str, *columns: str) -> Index:
    """The index of a list of a project's rows by `columns`: those of equality, then those of the order.

    It ends with the name, like every order of a list, so that a page begins by a seek in the index.
    """
    return Index(f"{table}_by_{columns[0]}", "project", *columns, "name")


class ResourceRow(SQLModel):
    """A named resource of a project; its etag is made of its version.

    Each table declares the indexes of its lists by `listing_index`.
    """

    name: str = Field(primary_key=True)
    project: str
    version: int = 1
    create_time: datetime = Field(sa_type=UtcDateTime)
    update_time: datetime = Field(sa_type=UtcDateTime)

    @property
    def etag(self) -> str:
        """Differs after every counted change, and when the name is used again."""
        return f"{self.create_time.timestamp():.6f}-{self.version}"

    def check_etag(self, etag: str) -> None:
        """EtagMismatch for a stale etag; an empty one is never stale."""
        if etag and etag != self.etag:
            raise EtagMismatch(resource=self.name, etag=etag)

    def touch(self, now: datetime) -> None:
        """Counts a change. Every function that changes a row's visible fields ends with it."""
        self.version += 1
        self.update_time = now


Row = TypeVar("Row", bound=ResourceRow)


def lock_row(session: Session, table: type[Row], name: str) -> Row | None:
    """The row, locked until this write ends; without a row, its name is locked."""
    row = session.exec(select(table).where(table.name == name).with_for_update()).first()
    if row is None:
        lock_name(session, name)
    return row
