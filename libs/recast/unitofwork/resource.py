"""What every resource's row has."""

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from recast.faults import EtagMismatch
from recast.unitofwork.columns import UtcDateTime

_NO_TEXTS = ("create_time", "size_bytes")


def listing_index(table: str, *columns: str) -> Index:
    """The index of a list of a project's rows with `columns`: held equal, or ordered by, in this sequence.

    It ends with the name, as every order of a list does: any page then begins at its place in the index.
    Texts are in the order of their bytes, as `Listing` asks for them; on PostgreSQL that must be said.
    """
    texts = {column: 'COLLATE "C"' for column in (*columns, "name") if column not in _NO_TEXTS}
    return Index(f"{table}_by_{columns[0]}", "project", *columns, "name", postgresql_ops=texts)


class ResourceRow(SQLModel):
    """A named resource of a project. Its version counts the changes that callers are told of; the etag is
    made of it.

    Each table says by `listing_index` what its lists are filtered and ordered by.
    """

    name: str = Field(primary_key=True)
    project: str
    version: int = 1
    create_time: datetime = Field(sa_type=UtcDateTime)
    update_time: datetime = Field(sa_type=UtcDateTime)

    @property
    def etag(self) -> str:
        """Another with every change that is counted."""
        return f"{self.create_time.timestamp():.6f}-{self.version}"

    def check_etag(self, etag: str) -> None:
        """Refuses a stale etag; an empty one is never stale."""
        if etag and etag != self.etag:
            raise EtagMismatch(resource=self.name, etag=etag)

    def touch(self, now: datetime) -> None:
        """Counts a change. Every function that changes what callers see of a row by itself ends with it."""
        self.version += 1
        self.update_time = now
