"""Following an operation to its end."""

import time
from collections.abc import Callable
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf.duration_pb2 import Duration

from recast.faults import Kind, Refusal, RemoteRefusal
from recast.longrunning.v1.operation_metadata_pb2 import OperationMetadata
from recast.rpc.status import refusal_from_status

OnProgress = Callable[[OperationMetadata], None]

# How long one WaitOperation may take: short when somebody watches the progress, long when only the end
# counts.
_WATCHED_SECONDS, _UNWATCHED_SECONDS = 0.5, 20.0
# The work outlives the service's process, so waiting outlives its restart.
_PATIENCE_SECONDS = 60.0


class WaitTimedOut(Refusal):
    """The operation did not end in the time that the caller gave it; it goes on."""

    kind = Kind.DEADLINE_EXCEEDED
    reason = "WAIT_TIMED_OUT"
    message = "{operation} did not end within {seconds} s; the work goes on"


def metadata_of(operation: operations_pb2.Operation) -> OperationMetadata:
    """Where the work stands; an empty message when the operation carries none."""
    metadata = OperationMetadata()
    operation.metadata.Unpack(metadata)
    return metadata


def wait_for_end(
    stub: Any,
    name: str,
    on_progress: OnProgress | None = None,
    *,
    timeout_seconds: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> operations_pb2.Operation:
    """The operation once it has ended well. `stub` is the OperationsStub of its service.

    An operation that failed or was cancelled raises the refusal in its `error`; one that takes longer than
    `timeout_seconds` raises WaitTimedOut. `on_progress` is called with each look, at the end too.
    """
    look = _WATCHED_SECONDS if on_progress else _UNWATCHED_SECONDS
    end = None if timeout_seconds is None else clock() + timeout_seconds
    away_since: float | None = None
    while True:
        rest = look if end is None else max(0.0, min(look, end - clock()))
        try:
            operation = _look(stub, name, rest, sleep)
            away_since = None
        except RemoteRefusal as refusal:
            # Only these say "not now"; anything else is an answer.
            if refusal.kind not in (Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED):
                raise
            away_since = away_since if away_since is not None else clock()
            if clock() - away_since >= _PATIENCE_SECONDS or (end is not None and clock() >= end):
                raise
            sleep(refusal.retry_seconds or 1.0)
            continue
        if on_progress:
            on_progress(metadata_of(operation))
        if operation.done:
            if operation.HasField("error"):
                raise refusal_from_status(operation.error)
            return operation
        if end is not None and clock() >= end:
            raise WaitTimedOut(operation=name, seconds=timeout_seconds)


def _look(stub: Any, name: str, seconds: float, sleep: Callable[[float], None]) -> operations_pb2.Operation:
    """Waits for the end for `seconds` at the most, and says where the work stands."""
    timeout = Duration()
    timeout.FromNanoseconds(int(seconds * 1e9))
    try:
        # The deadline leaves the server time to answer after its own timeout.
        return stub.WaitOperation(
            operations_pb2.WaitOperationRequest(name=name, timeout=timeout), timeout=seconds + 5.0
        )
    except RemoteRefusal as refusal:
        if refusal.reason != "TOO_MANY_WAITS":
            raise
        # As many callers as the server allows are waiting: look from time to time instead.
        sleep(refusal.retry_seconds or 1.0)
        return stub.GetOperation(operations_pb2.GetOperationRequest(name=name))
