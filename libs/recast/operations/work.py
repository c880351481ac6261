"""The interface of a workflow, and its access to the operation: `Work`."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar, overload

from google.protobuf.message import Message
from google.rpc import status_pb2
from sqlalchemy import select, text

from recast.database import Transaction
from recast.faultpoints import reach, within
from recast.faults import Cancelled, Refusal, Unavailable
from recast.longrunning.v1 import operation_metadata_pb2 as pb
from recast.operations.lease import Lease, LeaseLost
from recast.operations.registry import Operations, metadata_from_row, operation_name
from recast.operations.tables import OperationRow, OperationStep, OperationUse

_TABLE: Any = OperationRow.__table__  # type: ignore[attr-defined]
_USE: Any = OperationUse.__table__  # type: ignore[attr-defined]
_DECIDED = ":decided"  # recorded like a step once the point of no return is passed
_PARKED_SECONDS = 60.0  # children wake their parent; after this time it polls
_PROGRESS_SECONDS = 2.0  # often enough to be visible, rarely enough not to load the database
_CANCEL_SECONDS = 0.25  # the least time between two reads of the cancel flag
_SHARE_SECONDS = 0.25  # the same, of whether another project needs the thread
T = TypeVar("T")
M = TypeVar("M", bound=Message)


class Parked(Exception):
    """The work waits for its children; the last of them to end wakes it."""


class Interrupted(Exception):
    """The process is shutting down, or another project needs the thread; the work resumes later, anywhere."""


class Workflow(Protocol):
    """One kind of work.

    Both methods may be run again from the start at any time: an effect that must not be repeated is a step.
    """

    def run(self, work: "Work") -> Message | Refusal:
        """Does the work and returns its result, or a refusal to end with FAILED without an undo.

        A raised refusal ends the work and has it undone; UNAVAILABLE is retried.
        """
        ...

    def undo(self, work: "Work", error: Refusal) -> Message | None:
        """Undoes the possible effects of `run`, recorded or not.

        Returns the result if the work turns out to be complete: it then succeeded.

        Past the point of no return it is called only when the rest could not be finished within about a
        minute: it must then leave a state with a next action. So must its own last try.
        """
        ...


class Work:
    """One operation, as its workflow uses it. `id` is the idempotency key outside the database."""

    def __init__(
        self,
        operations: Operations,
        lease: Lease,
        stopping: threading.Event,
        gives_way: Callable[[], bool] = lambda: False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`stopping` is set when the process shuts down; `gives_way`: another project needs this thread."""
        row = lease.row
        self.id = row.id
        self._verb = row.verb
        self.project = row.project
        self.target = row.target
        self.request = row.request
        self._operations = operations
        self._database = operations.database
        self._lease = lease
        self._stopping = stopping
        self._gives_way = gives_way
        self._monotonic = monotonic
        self._cancel_read = self._share_read = self._progress_written = float("-inf")
        self._step = row.step
        self._progress = pb.OperationMetadata.FromString(row.progress)
        self._results = self._load_results()
        self.is_decided = _DECIDED in self._results
        """Past the point of no return: the rest is finished, not undone, and a cancel has no effect."""
        self.is_undoing = row.error is not None
        """The work is being undone: a cancel has no effect."""
        self.is_last_try = False
        """The undo is not retried after this: it must leave a state with a next action."""

    def _load_results(self) -> dict[str, bytes]:
        with self._database.read() as session:
            rows = session.connection().execute(
                text("SELECT name, result FROM operation_step WHERE operation_id = :id"), {"id": self.id}
            )
            return {name: bytes(result) for name, result in rows}

    @overload
    def step(self, name: str, action: Callable[[], M], of: type[M]) -> M: ...
    @overload
    def step(self, name: str, action: Callable[[], T], of: None = None) -> T: ...
    def step(self, name: str, action: Callable[[], Any], of: type[Message] | None = None) -> Any:
        """Runs an effect outside the database at least once, and records its result: a message of type `of`,
        or plain JSON.
        """
        if name in self._results:
            return _decode(self._results[name], of)
        self.check()
        self._step = name
        self._write_progress()
        with within(f"{self._verb}/{name}"):
            reach("begin")
            encoded = _encode(action(), of)
            reach("done")
            with self._database.write() as tx:
                self._record(tx, name, encoded)
                tx.commit()
        return _decode(encoded, of)

    def transact(self, name: str, action: Callable[[Transaction], T], *, decides: bool = False) -> T:
        """Writes to the service's own database exactly once: the write and its record are one transaction.

        `decides` marks the point of no return. It is recorded too, for a worker that takes the work over.
        """
        if name not in self._results:
            self.check()
            with within(f"{self._verb}/{name}"), self._database.write() as tx:
                encoded = _encode(action(tx), None)
                if decides and _DECIDED not in self._results:
                    self._record(tx, _DECIDED, _encode(True, None))
                self._record(tx, name, encoded)
                tx.commit()
        self.is_decided = self.is_decided or decides
        result: T = _decode(self._results[name], None)
        return result

    def decide(self) -> None:
        """Passes the point of no return: for work that was decided when it was recorded, like a deletion."""
        self.is_decided = True

    def use(self, resource: str, *, exclusive: bool = False) -> None:
        """Locks a resource until this operation ends; UNAVAILABLE, so retried, while others have it."""
        self.check()
        with self._database.write() as tx:
            connection = tx.session.connection()
            if not self._database.is_sqlite:  # concurrent transactions must not both get it
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(hashtext(:resource))"), {"resource": resource}
                )
            query = select(_USE).where(_USE.c.resource == resource, _USE.c.operation_id != self.id)
            others = connection.execute(
                query if exclusive else query.where(_USE.c.exclusive.is_(True))
            ).first()
            if others is not None:
                raise Unavailable(problem=f"{resource} is in use by operation {others.operation_id}")
            self._lease.write_in(tx)
            tx.session.merge(OperationUse(resource=resource, operation_id=self.id, exclusive=exclusive))
            tx.commit()

    def done(self, name: str) -> bool:
        """Whether a step is recorded. An unrecorded step may still have had its effect."""
        return name in self._results

    def recall(self, name: str) -> Any:
        """The result of a recorded step, if it is plain JSON."""
        return _decode(self._results[name], None)

    def check(self) -> None:
        """Raises when the work must stop: cancelled before the decision, shut down, taken over, or in the way
        of another project.
        """
        self._lease.check()
        if self._stopping.is_set():
            raise Interrupted(self.id)
        if self._monotonic() - self._share_read >= _SHARE_SECONDS:
            self._share_read = self._monotonic()
            if self._gives_way():
                raise Interrupted(self.id)
        if self._monotonic() - self._cancel_read >= _CANCEL_SECONDS and self.is_cancelled():
            raise self.cancelled()

    def is_cancelled(self) -> bool:
        """Whether a cancel was requested before the decision; reads the database."""
        if self.is_undoing or self.is_decided:
            return False
        self._cancel_read = self._monotonic()
        with self._database.read() as session:
            query = text("SELECT cancel_requested, epoch FROM operation WHERE id = :id")
            row = session.connection().execute(query, {"id": self.id}).one_or_none()
        if row is None or row.epoch != self._lease.row.epoch:
            raise LeaseLost(self.id)
        return bool(row.cancel_requested)

    def cancelled(self) -> Cancelled:
        """The refusal that cancelled work ends with."""
        return Cancelled(operation=operation_name(self._lease.row))

    def progress(self, disks: list[pb.DiskProgress]) -> None:
        """Reports the progress of each disk, and checks. The percentage does not decrease."""
        self.check()
        done, total = sum(each.done_bytes for each in disks), sum(each.total_bytes for each in disks)
        percent = max(self._progress.progress_percent, min(99, done * 100 // total if total else 0))
        self._progress = pb.OperationMetadata(
            progress_percent=percent,
            done_bytes=done,
            total_bytes=total,
            disks=disks,
            parts=self._progress.parts,
            parts_done=self._progress.parts_done,
        )
        self._write_progress()

    def count_parts(self, done: int) -> None:
        """Reports how many parts of a batch are made, from inside a step. The number does not decrease.

        It does not check for a cancel: the parts are made together, and undone together.
        """
        self._progress.parts_done = max(self._progress.parts_done, done)
        self._write_progress()

    def wait_for(self, what: str, progress: pb.OperationMetadata, seconds: float) -> None:
        """Pauses between two polls of other work, which stands at `progress`.

        The step names what it waits for, and how far that is; its progress is this work's own.
        """
        self._step = f"waits for {what}, at {progress.progress_percent} %"
        percent = max(self._progress.progress_percent, min(99, progress.progress_percent))
        self._progress = pb.OperationMetadata(
            progress_percent=percent,
            done_bytes=progress.done_bytes,
            total_bytes=progress.total_bytes,
            disks=progress.disks,
            parts=self._progress.parts,
            parts_done=self._progress.parts_done,
        )
        self._write_progress()
        self.pause(seconds)

    def last_progress(self) -> pb.OperationMetadata:
        """The last reported progress, written or not; its other fields are empty."""
        return self._progress

    def end_parts(self, errors: Mapping[str, status_pb2.Status]) -> None:
        """Says how each part of a batch ended: by its target, why it failed; the others succeeded.

        Written with the progress. Parts of which this is not said end as the whole work does.
        """
        self._progress.parts_done = len(self._progress.parts)
        for part in self._progress.parts:
            part.state = pb.OPERATION_STATE_SUCCEEDED
            if part.target in errors:
                part.state = pb.OPERATION_STATE_FAILED
                part.error.CopyFrom(errors[part.target])

    def children(self) -> list[OperationRow]:
        """The operations that were recorded with this one as their parent, all ended, in that order.

        While one has not ended it raises Parked: the lease is given back, no thread waits, and the child's
        end has the work run again. A cancel reaches the children by itself; how they end tells what came of
        it. On PostgreSQL the child waits for this transaction, so that it cannot end between check and
        parking.
        """
        with self._database.write() as tx:
            self._lease.write_in(tx)
            query = select(OperationRow).where(_TABLE.c.parent == self.id)
            rows = tx.session.scalars(query.order_by(_TABLE.c.create_time, _TABLE.c.id)).all()
            ended = sum(row.ended for row in rows)
            self._take_parts(row for row in rows if row.ended)
            if ended == len(rows):
                return list(rows)
            self._progress.progress_percent = ended * 100 // len(rows)
            self._lease.write_in(
                tx,
                lease_until=0.0,
                not_before=text(f"{self._database.now_sql()} + {_PARKED_SECONDS}"),
                step=f"waits for {len(rows) - ended} of {len(rows)} child operations",
                progress=self._progress.SerializeToString(),
            )
            tx.commit()
        self._operations.notify()
        raise Parked(self.id)

    def _take_parts(self, children: Iterable[OperationRow]) -> None:
        """The parts of a child are parts of its parent, too, under the same ids."""
        ended = {part.id: part for child in children for part in metadata_from_row(child).parts}
        for part in self._progress.parts:
            if part.id in ended:
                part.CopyFrom(ended[part.id])
        self._progress.parts_done = sum(bool(part.state) for part in self._progress.parts)

    def pause(self, seconds: float) -> None:
        """Waits between two polls; ends early by an exception, like `check`."""
        self.check()
        if self._stopping.wait(seconds):
            raise Interrupted(self.id)

    def _write_progress(self) -> None:
        """Writes the step and the progress, every 2 s at most: most steps are shorter than a commit.

        The end of the work, or giving back the lease, writes the last.
        """
        if self._monotonic() - self._progress_written >= _PROGRESS_SECONDS:
            self._progress_written = self._monotonic()
            self._lease.write(step=self._step, progress=self._progress.SerializeToString())

    def _record(self, tx: Transaction, name: str, encoded: bytes) -> None:
        self._lease.write_in(tx, step=name)
        tx.session.add(OperationStep(operation_id=self.id, name=name, result=encoded))

        def record_locally() -> None:
            self._results[name] = encoded
            self._operations.notify()

        tx.after_commit(record_locally)


def _encode(result: object, of: type[Message] | None) -> bytes:
    """The recorded form of a result. The first run decodes it too, so that a repeat has the same value."""
    if not isinstance(result, Message):
        return json.dumps(result).encode()
    if of is None or not isinstance(result, of):
        raise TypeError(f"a step that gives a {type(result).__name__} must say so in `of`")
    return result.SerializeToString()


def _decode(result: bytes, of: type[Message] | None) -> Any:
    return of.FromString(result) if of is not None else json.loads(result)
