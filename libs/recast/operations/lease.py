"""The lease of one operation, by which alone a worker writes to its row."""

import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import delete, text, update

from recast.database import Transaction
from recast.operations.registry import Operations
from recast.operations.tables import OperationRow, OperationUse

_TABLE: Any = OperationRow.__table__  # type: ignore[attr-defined]
_USE: Any = OperationUse.__table__  # type: ignore[attr-defined]


class LeaseLost(Exception):
    """This worker's lease was taken over; its further writes must have no effect."""


class Lease:
    """One operation that a worker has claimed, under the epoch of that claim.

    Every write carries the epoch: once another worker has claimed the row it changes nothing and raises
    LeaseLost.
    """

    def __init__(
        self,
        operations: Operations,
        row: OperationRow,
        seconds: float,
        claim_begun: float,
        monotonic: Callable[[], float],
    ) -> None:
        """`row` is the claimed row; `claim_begun` is the `monotonic` time before the claim was sent."""
        self.row = row
        self._operations = operations
        self._database = operations.database
        self._seconds = seconds
        self._monotonic = monotonic
        self._held_until = claim_begun + seconds
        self._lost = threading.Event()

    def renew(self) -> None:
        """Extends the lease; it is lost if another worker has it, or it was given back."""
        begun = self._monotonic()
        with self._database.write() as tx:
            until = text(f"{self._database.now_sql()} + {self._seconds}")
            renewed = tx.session.connection().execute(
                update(_TABLE)
                .where(_TABLE.c.id == self.row.id, _TABLE.c.epoch == self.row.epoch, _TABLE.c.lease_until > 0)
                .values(lease_until=until)
            )
            tx.commit()
        if renewed.rowcount == 1:
            self._held_until = begun + self._seconds
        else:
            self._lost.set()

    def check(self) -> None:
        """Raises LeaseLost unless the lease is held.

        A lease that could not be renewed counts as lost before another worker may claim it: effects outside
        the database are not fenced.
        """
        if self._lost.is_set() or self._monotonic() > self._held_until:
            raise LeaseLost(self.row.id)

    def write_in(self, tx: Transaction, **values: object) -> None:
        """Writes to the row in a transaction, which is void when this raises LeaseLost."""
        if self._lost.is_set():
            raise LeaseLost(self.row.id)
        written = tx.session.connection().execute(
            update(_TABLE)
            .where(_TABLE.c.id == self.row.id, _TABLE.c.epoch == self.row.epoch)
            .values(update_time=self._operations.now(), **values)
        )
        if written.rowcount != 1:
            raise LeaseLost(self.row.id)

    def write(self, **values: object) -> None:
        """Writes to the row, and wakes the waits for the operation."""
        with self._database.write() as tx:
            self.write_in(tx, **values)
            tx.commit()
        self._operations.notify()

    def give_back(self, after_seconds: float = 0.0, **values: object) -> None:
        """Lets any worker claim the operation, after a delay by the database's clock."""
        if after_seconds:
            values["not_before"] = text(f"{self._database.now_sql()} + {after_seconds}")
        self.write(lease_until=0.0, **values)

    def end(self, **values: object) -> None:
        """Writes the end of the operation, releases what it used, and wakes its parent."""
        with self._database.write() as tx:
            # The request goes with the end: it may hold the key of a chunk store.
            self.write_in(
                tx, ended=True, request=b"", lease_until=0.0, end_time=self._operations.now(), **values
            )
            tx.session.connection().execute(delete(_USE).where(_USE.c.operation_id == self.row.id))
            if self.row.parent:
                tx.session.connection().execute(
                    update(_TABLE).where(_TABLE.c.id == self.row.parent).values(not_before=0.0)
                )
                tx.after_commit(self._operations.wakeup.notify)
            tx.commit()
        self._operations.notify()
