"""What every resource's row has."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from recast.faults import EtagMismatch
from recast.unitofwork.columns import UtcDateTime


class ResourceRow(SQLModel):
    """A named resource of a project. Its version counts the changes; the etag is made of it."""

    name: str = Field(primary_key=True)
    project: str = Field(index=True)
    version: int = 1
    create_time: datetime = Field(sa_type=UtcDateTime, index=True)
    update_time: datetime = Field(sa_type=UtcDateTime)

    @property
    def etag(self) -> str:
        """Changes with every change of the row."""
        return f"{self.create_time.timestamp():.6f}-{self.version}"

    def check_etag(self, etag: str) -> None:
        """Refuses a stale etag; an empty one is never stale."""
        if etag and etag != self.etag:
            raise EtagMismatch(resource=self.name, etag=etag)

    def touch(self, now: datetime) -> None:
        """Counts a change. Every function that changes a row ends with it."""
        self.version += 1
        self.update_time = now
