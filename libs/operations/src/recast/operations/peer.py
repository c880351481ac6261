"""A peer's long-running work as a step of one's own."""

from collections.abc import Callable

from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.duration_pb2 import Duration

from recast.faults import Refusal
from recast.longrunning.v1 import operation_metadata_pb2
from recast.operations.work import Interrupted, LeaseLost, Work
from recast.rpc.status import refusal_from_status

_LOOK = Duration(nanos=250_000_000)  # how late a cancel may be noticed
_DEADLINE_SECONDS = 10.0


def follow(
    work: Work,
    operations: operations_pb2_grpc.OperationsStub,
    step: str,
    begin: Callable[[], operations_pb2.Operation],
) -> operations_pb2.Operation:
    """Begins a peer's operation once, waits for its end, and gives it; its failure is raised as the peer's
    refusal.

    `begin` carries a request id, so that beginning again after a crash finds the same operation. A cancel of
    `work` is passed on, best effort: whoever undoes the step must still expect either end.
    """
    name = work.step(f"{step}:begin", lambda: begin().name)
    try:
        while True:
            wait = operations_pb2.WaitOperationRequest(name=name, timeout=_LOOK)
            operation = operations.WaitOperation(wait, timeout=_DEADLINE_SECONDS)
            metadata = operation_metadata_pb2.OperationMetadata()
            operation.metadata.Unpack(metadata)
            work.progress(list(metadata.disks))
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
