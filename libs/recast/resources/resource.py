"""What the row of every resource has."""

from datetime import datetime
from typing import TypeVar

from sqlalchemy import Index
from sqlmodel import Field, Session, SQLModel, select

from recast.database import UtcDateTime, lock_name
from recast.faults import EtagMismatch


def listing_index(table: str, *columns: str) -> Index:
    """The index of a list of a project's rows by `columns`: held equal, or ordered by, in this sequence.

    It ends with the name, as every order of a list does: a page begins at its place in the index.
    """
    return Index(f"{table}_by_{columns[0]}", "project", *columns, "name")


class ResourceRow(SQLModel):
    """A named resource of a project; its etag is made of its version.

    Each table says by `listing_index` what its lists are filtered and ordered by.
    """

    name: str = Field(primary_key=True)
    project: str
    version: int = 1
    create_time: datetime = Field(sa_type=UtcDateTime)
    update_time: datetime = Field(sa_type=UtcDateTime)

    @property
    def etag(self) -> str:
        """Changes with every change that is counted, and when the name is used again."""
        return f"{self.create_time.timestamp():.6f}-{self.version}"

    def check_etag(self, etag: str) -> None:
        """EtagMismatch for a stale etag; an empty one is never stale."""
        if etag and etag != self.etag:
            raise EtagMismatch(resource=self.name, etag=etag)

    def touch(self, now: datetime) -> None:
        """Counts a change. Every function that changes what callers see of a row ends with it."""
        self.version += 1
        self.update_time = now


Row = TypeVar("Row", bound=ResourceRow)


def lock_row(session: Session, table: type[Row], name: str) -> Row | None:
    """The row, which other writes wait for until this one ends; where it is gone, they wait for its name."""
    row = session.exec(select(table).where(table.name == name).with_for_update()).first()
    if row is None:
        lock_name(session, name)
    return row
