"""The rows of long-running and of recurring work."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, Index, LargeBinary
from sqlmodel import Field, SQLModel

from recast.database import UtcDateTime


class State(StrEnum):
    """The state of work; the names of recast.longrunning.v1.OperationState without its prefix."""

    PENDING = "PENDING"
    """Recorded. A worker that claims it moves it to RUNNING."""
    RUNNING = "RUNNING"
    """A worker has, or had, the lease. Its worker moves it to SUCCEEDED or UNDOING."""
    UNDOING = "UNDOING"
    """Being undone. Its worker moves it to FAILED or CANCELLED."""
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


ENDED = (State.SUCCEEDED, State.FAILED, State.CANCELLED)


class OperationRow(SQLModel, table=True):
    """One piece of work.

    `lease_until` and `not_before` are seconds since 1970 by the database's own clock.
    """

    __tablename__ = "operation"
    __table_args__ = (Index("operation_claimable", "ended", "queue", "not_before", "lease_until"),)

    id: str = Field(primary_key=True)
    project: str = Field(index=True)
    verb: str
    target: str = Field(index=True)
    queue: str = ""
    parent: str = Field(default="", index=True, sa_column_kwargs={"server_default": ""})
    """The operation that this is a child of; empty for what was asked for by itself."""
    request: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    state: str = State.PENDING
    ended: bool = False
    epoch: int = 0
    worker: str = ""
    lease_until: float = 0.0
    not_before: float = 0.0
    cancel_requested: bool = False
    failures: int = 0
    """Failures of decided work or of its undo; both have a limit. Unavailability does not count."""
    retries: int = 0
    last_retry_reason: str = ""
    step: str = ""
    progress: bytes = Field(default=b"", sa_column=Column(LargeBinary, nullable=False))
    error: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    response: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    create_time: datetime = Field(sa_type=UtcDateTime, index=True)
    update_time: datetime = Field(sa_type=UtcDateTime)
    end_time: datetime | None = Field(default=None, sa_type=UtcDateTime)


class OperationStep(SQLModel, table=True):
    """The recorded result of one step."""

    __tablename__ = "operation_step"

    operation_id: str = Field(primary_key=True, foreign_key="operation.id", ondelete="CASCADE")
    name: str = Field(primary_key=True)
    result: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class OperationUse(SQLModel, table=True):
    """An operation's lock on a resource, shared or exclusive.

    Released at the operation's end, in the same transaction.
    """

    __tablename__ = "operation_use"

    resource: str = Field(primary_key=True)
    operation_id: str = Field(primary_key=True, foreign_key="operation.id", ondelete="CASCADE")
    exclusive: bool


class ScheduleRow(SQLModel, table=True):
    """A piece of recurring work. Times go by the processes' clocks."""

    __tablename__ = "schedule"

    name: str = Field(primary_key=True)
    due_time: datetime = Field(sa_type=UtcDateTime)
    """The next run; during a run, the time after which a killed one is repeated."""
    interval_seconds: float
    last_run_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """The begin of the last successful run."""


TABLES: tuple[Any, ...] = (OperationRow, OperationStep, OperationUse, ScheduleRow)
