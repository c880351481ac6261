"""Long-running work that outlives a process: one table of operations in a service's own database, and workers
that lease them.

An operation's row is written in the same transaction as the resource that it is about. A worker leases it,
runs steps, records their results by name, and is fenced by an epoch: after losing its lease it cannot write.
Work that fails for good is undone, and an interrupted undo is resumed.
"""

from recast.operations.expiry import Expiries
from recast.operations.lease import Lease, LeaseLost
from recast.operations.registry import Operations, operation_from_row, part_id
from recast.operations.schedule import Schedule
from recast.operations.servicer import OperationsServicer
from recast.operations.tables import TABLES, OperationRow, OperationStep, State
from recast.operations.waits import Waits
from recast.operations.work import Interrupted, Work, Workflow
from recast.operations.worker import Worker

__all__ = [
    "TABLES",
    "Expiries",
    "Interrupted",
    "Lease",
    "LeaseLost",
    "OperationRow",
    "OperationStep",
    "Operations",
    "OperationsServicer",
    "Schedule",
    "State",
    "Waits",
    "Work",
    "Worker",
    "Workflow",
    "operation_from_row",
    "part_id",
]
