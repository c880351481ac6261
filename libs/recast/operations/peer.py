"""A peer's operation as a step of a workflow."""

from collections.abc import Callable

from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.duration_pb2 import Duration

from recast.faults import Refusal, TooManyWaits
from recast.longrunning.v1 import operation_metadata_pb2
from recast.operations.lease import LeaseLost
from recast.operations.work import Interrupted, Work
from recast.rpc.status import refusal_from_status

FOLLOWING = ("GetOperation", "WaitOperation", "CancelOperation")
"""The methods of google.longrunning.Operations that following a peer's operation calls."""
_WAIT = Duration(nanos=250_000_000)  # the longest delay until a cancel is noticed
_PAUSE_SECONDS = 0.25
_DEADLINE_SECONDS = 10.0


def follow(
    work: Work,
    operations: operations_pb2_grpc.OperationsStub,
    step: str,
    begin: Callable[[], operations_pb2.Operation],
) -> operations_pb2.Operation:
    """Begins a peer's operation once, waits for its end, and returns it; raises its failure as the peer's
    refusal.

    `begin` carries a request id, so that beginning again after a crash finds the same operation. A cancel of
    `work` is forwarded, best effort: the undo of the step must expect either end.
    """
    name = work.step(f"{step}:begin", lambda: begin().name)
    try:
        while True:
            operation = _wait(work, operations, name)
            metadata = operation_metadata_pb2.OperationMetadata()
            operation.metadata.Unpack(metadata)
            if metadata.disks:
                work.progress(list(metadata.disks))
            else:  # a freeze or a thaw reports no disks: the last progress stays
                work.check()
            if operation.done:
                break
    except (LeaseLost, Interrupted):
        raise
    except Refusal as refusal:
        if refusal.reason == "CANCELLED":
            operations.CancelOperation(operations_pb2.CancelOperationRequest(name=name))
        raise
    if operation.HasField("error"):
        raise refusal_from_status(operation.error)
    return operation


def await_end(
    work: Work, operations: operations_pb2_grpc.OperationsStub, name: str
) -> operations_pb2.Operation:
    """Waits for the end of a cancelled operation of a peer: the undo depends on its result."""
    while not (operation := _wait(work, operations, name)).done:
        work.check()
    return operation


def _wait(work: Work, operations: operations_pb2_grpc.OperationsStub, name: str) -> operations_pb2.Operation:
    wait = operations_pb2.WaitOperationRequest(name=name, timeout=_WAIT)
    try:
        return operations.WaitOperation(wait, timeout=_DEADLINE_SECONDS)
    except Refusal as refusal:
        if refusal.reason != TooManyWaits.reason:
            raise
    # The peer is at its limit of waits. That is no failure of the work: it polls instead.
    work.pause(_PAUSE_SECONDS)
    get = operations_pb2.GetOperationRequest(name=name)
    return operations.GetOperation(get, timeout=_DEADLINE_SECONDS)
