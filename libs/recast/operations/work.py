"""What a workflow is, and the handle through which it does its steps."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, overload

from google.protobuf.message import Message
from sqlalchemy import delete, select, text, update

from recast.database import Transaction
from recast.faultpoints import reach, within
from recast.faults import Cancelled, Refusal, Unavailable
from recast.longrunning.v1 import operation_metadata_pb2 as pb
from recast.operations.registry import Operations, operation_name
from recast.operations.tables import OperationRow, OperationStep, OperationUse

_TABLE: Any = OperationRow.__table__  # type: ignore[attr-defined]
_USE: Any = OperationUse.__table__  # type: ignore[attr-defined]
_DECIDED = ":decided"  # remembered like a step once the point of no return is passed
_PARKED_SECONDS = 60.0  # parts wake what waits for them; after this it looks by itself
_PROGRESS_SECONDS = 0.25  # often enough to look alive, seldom enough not to load the database
T = TypeVar("T")
M = TypeVar("M", bound=Message)


class LeaseLost(Exception):
    """This worker's lease was taken over; what it does must have no effect any more."""


class Parked(Exception):
    """The work waits for its parts; the last of them to end wakes it."""


class Interrupted(Exception):
    """The process is shutting down; the work goes on elsewhere, or after the restart, where it stood."""


class Workflow(Protocol):
    """One kind of work.

    Both methods may be run again from the start at any time: what must not be done twice is a step.
    """

    def run(self, work: "Work") -> Message | Refusal:
        """Does the work and gives its result, or the refusal that it ends with although nothing is to be
        undone.

        A refusal raised here ends the work and has it undone; UNAVAILABLE is tried again.
        """
        ...

    def undo(self, work: "Work", error: Refusal) -> Message | None:
        """Takes back whatever `run` may have done; also what it did without living to remember it.

        Gives the result when it turns out that all was done: the work then succeeded.

        Past the point of no return it is called only when what was left could not be finished, tried for a
        minute: it then leaves a state that somebody can go on from. So it does on its own last try.
        """
        ...


class Work:
    """One leased operation, in the hands of a workflow. `id` is the idempotency key for effects elsewhere."""

    def __init__(
        self, operations: Operations, row: OperationRow, stopping: threading.Event, held_until: float
    ) -> None:
        """`held_until`: by `time.monotonic`, when the lease ends unless it is renewed."""
        self._operations = operations
        self._database = operations.database
        self._epoch = row.epoch
        self._stopping = stopping
        self._held_until = held_until
        self._row = row
        self._looked = self._shown = 0.0
        self._step = ""
        self._undoing = row.error is not None
        self._percent = pb.OperationMetadata.FromString(row.progress).progress_percent
        self._results = self._load_results()
        self.is_decided = _DECIDED in self._results
        """Past the point of no return: what is left is finished, not undone, and a cancel comes too late."""
        self.is_last_try = False
        """Undoing is given up after this: it must leave what somebody can go on from."""
        self.id = row.id
        self.project = row.project
        self.target = row.target
        self.request = row.request
        self.lost = threading.Event()

    def _load_results(self) -> dict[str, bytes]:
        with self._database.read() as session:
            rows = session.connection().execute(
                text("SELECT name, result FROM operation_step WHERE operation_id = :id"), {"id": self._row.id}
            )
            return {name: bytes(result) for name, result in rows}

    @overload
    def step(self, name: str, action: Callable[[], M], of: type[M]) -> M: ...
    @overload
    def step(self, name: str, action: Callable[[], T], of: None = None) -> T: ...
    def step(self, name: str, action: Callable[[], Any], of: type[Message] | None = None) -> Any:
        """Does something elsewhere, at least once, and remembers its result: a message of type `of`, or plain
        JSON.
        """
        if name in self._results:
            return _decode(self._results[name], of)
        self.check()
        self._step = name
        self._show()
        with within(f"{self._row.verb}/{name}"):
            reach("begin")
            encoded = _encode(action(), of)
            reach("done")
            with self._database.write() as tx:
                self._remember(tx, name, encoded)
                tx.commit()
        return _decode(encoded, of)

    def transact(self, name: str, action: Callable[[Transaction], T], *, decides: bool = False) -> T:
        """Writes to the service's own database, exactly once: the write and the memory of it are one
        transaction.

        `decides` marks the point of no return. It is remembered too: whoever takes the work over knows it
        from the start.
        """
        if name not in self._results:
            self.check()
            with within(f"{self._row.verb}/{name}"), self._database.write() as tx:
                encoded = _encode(action(tx), None)
                if decides and _DECIDED not in self._results:
                    self._remember(tx, _DECIDED, _encode(True, None))
                self._remember(tx, name, encoded)
                tx.commit()
        self.is_decided = self.is_decided or decides
        result: T = _decode(self._results[name], None)
        return result

    def decide(self) -> None:
        """Passes the point of no return: for work that was decided when it was recorded, like a deletion."""
        self.is_decided = True

    def renew(self, lease_seconds: float) -> None:
        """Holds the lease for longer; marks the work as lost when it is another's, or was given back."""
        begun = time.monotonic()
        with self._database.write() as tx:
            until = text(f"{self._database.now_sql()} + {lease_seconds}")
            renewed = tx.session.connection().execute(
                update(_TABLE)
                .where(_TABLE.c.id == self.id, _TABLE.c.epoch == self._epoch, _TABLE.c.lease_until > 0)
                .values(lease_until=until)
            )
            tx.commit()
        if renewed.rowcount == 1:
            self._held_until = begun + lease_seconds
        else:
            self.lost.set()

    def use(self, resource: str, *, exclusive: bool = False) -> None:
        """Holds a resource until this operation ends, however it ends; UNAVAILABLE, so tried again, while
        others are in the way.
        """
        self.check()
        with self._database.write() as tx:
            connection = tx.session.connection()
            if not self._database.is_sqlite:  # two that do not see each other's rows must not both get it
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(hashtext(:resource))"), {"resource": resource}
                )
            query = select(_USE).where(_USE.c.resource == resource, _USE.c.operation_id != self.id)
            others = connection.execute(
                query if exclusive else query.where(_USE.c.exclusive.is_(True))
            ).first()
            if others is not None:
                raise Unavailable(problem=f"{resource} is in use by operation {others.operation_id}")
            self._fence(tx)
            tx.session.merge(OperationUse(resource=resource, operation_id=self.id, exclusive=exclusive))
            tx.commit()

    def end(self, **values: object) -> None:
        """Writes the end, and lets go of everything that was used. For the worker."""
        with self._database.write() as tx:
            # The request goes with the end: it may hold the key of a chunk store.
            self._fence(
                tx, ended=True, request=b"", lease_until=0.0, end_time=self._operations.now(), **values
            )
            tx.session.connection().execute(delete(_USE).where(_USE.c.operation_id == self.id))
            if self._row.parent:
                tx.session.connection().execute(
                    update(_TABLE).where(_TABLE.c.id == self._row.parent).values(not_before=0.0)
                )
                tx.after_commit(self._operations.bell.ring)
            tx.commit()
        self._operations.notify()

    def done(self, name: str) -> bool:
        """Whether a step is remembered. A step that is not may still have had its effect."""
        return name in self._results

    def recall(self, name: str) -> Any:
        """The result of a step that is remembered, if that is plain JSON."""
        return _decode(self._results[name], None)

    def check(self) -> None:
        """Raises when the work is to stop: cancelled (unless too late), shut down, or taken over."""
        # A lease that could not be renewed is given up before another may have it: what is done outside the
        # database is not fenced.
        if self.lost.is_set() or time.monotonic() > self._held_until:
            raise LeaseLost(self.id)
        if self._stopping.is_set():
            raise Interrupted(self.id)
        if time.monotonic() - self._looked >= _PROGRESS_SECONDS and self.is_cancelled():
            raise self.cancelled()

    def is_cancelled(self) -> bool:
        """Whether somebody asked for the end of this work, in time; looks now."""
        if self._undoing or self.is_decided:
            return False
        self._looked = time.monotonic()
        with self._database.read() as session:
            query = text("SELECT cancel_requested, epoch FROM operation WHERE id = :id")
            row = session.connection().execute(query, {"id": self.id}).one_or_none()
        if row is None or row.epoch != self._epoch:
            raise LeaseLost(self.id)
        return bool(row.cancel_requested)

    def cancelled(self) -> Cancelled:
        """The refusal that cancelled work ends with."""
        return Cancelled(operation=operation_name(self._row))

    def progress(self, disks: list[pb.DiskProgress]) -> None:
        """Shows how far each disk is, and checks. The percentage does not go back."""
        self.check()
        done, total = sum(each.done_bytes for each in disks), sum(each.total_bytes for each in disks)
        self._percent = max(self._percent, min(99, done * 100 // total if total else 0))
        shown = pb.OperationMetadata(
            progress_percent=self._percent, done_bytes=done, total_bytes=total, disks=disks
        )
        self._show(progress=shown.SerializeToString())

    def parts(self) -> list[OperationRow]:
        """The parts of this work, all ended, in the order of their recording.

        While one has not ended it raises Parked: the lease is given back, no thread waits, and the part's end
        has the work run again. A cancel reaches the parts by itself; how they end tells what came of it. On
        PostgreSQL the part waits for this transaction, so that it cannot end between the look and the
        parking.
        """
        with self._database.write() as tx:
            self._fence(tx)
            query = select(OperationRow).where(_TABLE.c.parent == self.id)
            rows = tx.session.scalars(query.order_by(_TABLE.c.create_time, _TABLE.c.id)).all()
            ended = sum(row.ended for row in rows)
            if ended == len(rows):
                return list(rows)
            shown = pb.OperationMetadata(progress_percent=ended * 100 // len(rows))
            self._fence(
                tx,
                lease_until=0.0,
                not_before=text(f"{self._database.now_sql()} + {_PARKED_SECONDS}"),
                step=f"waits for {len(rows) - ended} of {len(rows)} parts",
                progress=shown.SerializeToString(),
            )
            tx.commit()
        self._operations.notify()
        raise Parked(self.id)

    def pause(self, seconds: float) -> None:
        """Waits between two looks at something elsewhere; ends early, by an exception, as `check` does."""
        self.check()
        if self._stopping.wait(seconds):
            raise Interrupted(self.id)

    def _show(self, **values: object) -> None:
        """Writes what people look at, but not at every step: most take no time worth a commit."""
        if time.monotonic() - self._shown >= _PROGRESS_SECONDS:
            self._shown = time.monotonic()
            self._write(step=self._step, **values)

    def _write(self, **values: object) -> None:
        with self._database.write() as tx:
            self._fence(tx, **values)
            tx.commit()
        self._operations.notify()

    def _remember(self, tx: Transaction, name: str, encoded: bytes) -> None:
        self._fence(tx, step=name)
        tx.session.add(OperationStep(operation_id=self.id, name=name, result=encoded))

        def now_known() -> None:
            self._results[name] = encoded
            self._operations.notify()

        tx.after_commit(now_known)

    def _fence(self, tx: Transaction, **values: object) -> None:
        """Writes to the row only while this worker's epoch is the row's; LeaseLost otherwise, and the
        transaction is void.
        """
        if self.lost.is_set():
            raise LeaseLost(self.id)
        written = tx.session.connection().execute(
            update(_TABLE)
            .where(_TABLE.c.id == self.id, _TABLE.c.epoch == self._epoch)
            .values(update_time=self._operations.now(), **values)
        )
        if written.rowcount != 1:
            raise LeaseLost(self.id)


def _encode(result: object, of: type[Message] | None) -> bytes:
    """What is remembered of a result. The first run reads it back as well, to see what a second would."""
    if not isinstance(result, Message):
        return json.dumps(result).encode()
    if of is None or not isinstance(result, of):
        raise TypeError(f"a step that gives a {type(result).__name__} must say so in `of`")
    return result.SerializeToString()


def _decode(result: bytes, of: type[Message] | None) -> Any:
    return of.FromString(result) if of is not None else json.loads(result)
