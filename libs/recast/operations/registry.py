"""Recording, reading and cancelling operations, and their public messages."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2
from sqlalchemy import delete, or_, update
from sqlmodel import Session, select

from recast.contracts.times import put_time
from recast.database import Database, Transaction
from recast.faultpoints import within
from recast.faults import OperationNotFound, OperationRunning, Refusal
from recast.longrunning.v1 import operation_metadata_pb2 as pb
from recast.operations.tables import OperationRow, State
from recast.operations.wakeup import Wakeup
from recast.reservations import RELEASED

_TABLE: Any = OperationRow.__table__  # type: ignore[attr-defined]


class Operations:
    """The operations of one service. `now` and `new_id` come from its composition root."""

    def __init__(self, database: Database, now: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self.database = database
        self.now = now
        self.new_id = new_id
        self.wakeup = Wakeup()
        """Notified when this process recorded work, so that its worker claims it at once."""
        self.listeners: list[Callable[[], None]] = []
        """Called by `notify`, in the calling thread."""
        self.is_closing = False
        """The process is shutting down: waits are answered now, with the state of the work."""

    def record(
        self,
        tx: Transaction,
        *,
        project: str,
        verb: str,
        target: str,
        request: Message,
        queue: str = "",
        operation_id: str = "",
        parent: str = "",
        parts: Sequence[pb.OperationPart] = (),
    ) -> operations_pb2.Operation:
        """Writes the row of new work in the transaction that writes the work's resource.

        `parent` is the id of the work that this is a child of, recorded in the same transaction. `parts` are
        those of a batch, each with its id (`part_id`) and target.
        """
        now = self.now()
        row = OperationRow(
            id=operation_id or self.new_id(),
            project=project,
            verb=verb,
            target=target,
            queue=queue,
            parent=parent,
            request=request.SerializeToString(),
            progress=pb.OperationMetadata(parts=parts).SerializeToString(),
            create_time=now,
            update_time=now,
        )
        tx.session.add(row)
        tx.after_commit(self.wakeup.notify)
        return operation_from_row(row)

    def reserve(self, operation: operations_pb2.Operation, take: Callable[[OperationRow], None]) -> None:
        """Reserves at peers what the work needs, before the answer to the request that recorded the work.

        `take` is called for the work, or for each of its children; the work takes the same, under its own
        id, which is the reservation's. Whoever has the answer may rely on it. Nothing is reserved for work
        that has ended. A refusal is raised: the work meets it too, and fails. After UNAVAILABLE the caller
        repeats the request, which finds the same work.
        """
        name = operation.name.rpartition("/")[2]
        with self.database.read() as session:
            query = select(OperationRow).where(or_(_TABLE.c.id == name, _TABLE.c.parent == name))
            rows = session.exec(query).all()
        parents = {row.parent for row in rows}
        for row in rows:
            if row.ended or row.id in parents:
                continue
            try:
                with within(f"{row.verb}/reserve"):
                    take(row)
            except Refusal as refusal:
                if refusal.reason in RELEASED or self._has_succeeded(row.id):
                    continue  # the work was faster: it has what it needed, and has released it
                raise

    def _has_succeeded(self, operation_id: str) -> bool:
        with self.database.read() as session:
            row = session.get(OperationRow, operation_id)
            return row is not None and row.ended and row.error is None

    def find(self, session: Session, project: str, operation_id: str) -> OperationRow:
        """The row, or OperationNotFound."""
        row = session.get(OperationRow, operation_id)
        if row is None or row.project != project:
            raise OperationNotFound(operation=f"projects/{project}/operations/{operation_id}")
        return row

    def request_cancel(self, tx: Transaction, row: OperationRow) -> None:
        """Requests the cancel of work and of its children; an ended operation does not change.

        The worker notices it at its next step or progress.
        """
        tx.session.connection().execute(
            update(_TABLE)
            .where(or_(_TABLE.c.id == row.id, _TABLE.c.parent == row.id), _TABLE.c.ended.is_(False))
            .values(cancel_requested=True, not_before=0.0, update_time=self.now())
        )
        tx.after_commit(self.wakeup.notify)

    def delete(self, tx: Transaction, row: OperationRow) -> None:
        """Deletes ended work, with its children."""
        if not row.ended:
            raise OperationRunning(operation=operation_name(row))
        tx.session.connection().execute(delete(_TABLE).where(_TABLE.c.parent == row.id))
        tx.session.delete(row)

    def waiting(self, session: Session, target: str) -> OperationRow | None:
        """The work on a resource that has not begun, if there is any: it will read the caller's write.

        Work that has begun may have read before the write, so it does not count.
        """
        query = select(OperationRow).where(OperationRow.target == target, OperationRow.state == State.PENDING)
        return session.exec(query).first()

    def unended(self, ids: Collection[str]) -> set[str]:
        """The ids of those operations that exist and have not ended."""
        with self.database.read() as session:
            query = select(OperationRow.id).where(_TABLE.c.id.in_(ids), _TABLE.c.ended.is_(False))
            return set(session.exec(query))

    def notify(self) -> None:
        """Notifies the waits of this process that an operation changed; each reads the row itself."""
        for listener in self.listeners:
            listener()

    def close(self) -> None:
        """Ends all waits, so that the server need not wait for them."""
        self.is_closing = True
        self.notify()


def operation_name(row: OperationRow) -> str:
    """`projects/{project}/operations/{operation}`."""
    return f"projects/{row.project}/operations/{row.id}"


def part_id(operation_id: str, position: int) -> str:
    """The id of a part of a batch, by its position in the request from 0."""
    return f"{operation_id}-{position:04d}"


def _words(step: str) -> str:
    """The name of a step for people: `thaw` for `thaw:begin`, which is recorded by itself."""
    return step.partition(":")[0]


def metadata_from_row(row: OperationRow) -> pb.OperationMetadata:
    """The state and the progress of the work. A part without an end of its own has the state of the work."""
    metadata = pb.OperationMetadata.FromString(row.progress or b"")
    metadata.verb, metadata.target = row.verb, row.target
    metadata.step = "" if row.ended else _words(row.step)
    metadata.state = pb.OperationState.Value(f"OPERATION_STATE_{row.state}")
    metadata.cancel_requested = row.cancel_requested
    metadata.retries, metadata.last_retry_reason = row.retries, row.last_retry_reason
    put_time(metadata.create_time, row.create_time)
    put_time(metadata.update_time, row.update_time)
    if row.end_time:
        put_time(metadata.end_time, row.end_time)
    for part in metadata.parts:
        if not part.state:
            part.state = metadata.state
            if row.ended and row.error is not None:
                part.error.ParseFromString(row.error)
    return metadata


def operation_from_row(row: OperationRow) -> operations_pb2.Operation:
    """The row as google.longrunning has it."""
    message = operations_pb2.Operation(name=operation_name(row), done=row.ended)
    message.metadata.Pack(metadata_from_row(row))
    if row.ended and row.error is not None:
        message.error.CopyFrom(status_pb2.Status.FromString(row.error))
    if row.ended and row.response is not None:
        message.response.CopyFrom(any_pb2.Any.FromString(row.response))
    return message
