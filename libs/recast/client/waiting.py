"""Waits for the end of an operation."""

import time
from collections.abc import Callable
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf.duration_pb2 import Duration

from recast.faults import Kind, Refusal, RemoteRefusal
from recast.longrunning.v1.operation_metadata_pb2 import OperationMetadata
from recast.rpc.status import refusal_from_status

OnProgress = Callable[[OperationMetadata], None]

# The timeout of one WaitOperation: short with `on_progress`, long when only the end counts.
_WATCHED_SECONDS, _UNWATCHED_SECONDS = 0.5, 20.0
# The work survives a restart of the service, so the wait does too.
_PATIENCE_SECONDS = 60.0


class WaitTimedOut(Refusal):
    """The operation did not end within the caller's timeout; it continues."""

    kind = Kind.DEADLINE_EXCEEDED
    reason = "WAIT_TIMED_OUT"
    message = "{operation} did not end within {seconds} s; the work goes on"


def metadata_of(operation: operations_pb2.Operation) -> OperationMetadata:
    """The operation's metadata; an empty message when it has none."""
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
    """The operation once it has succeeded. `stub` is the OperationsStub of its service.

    An operation that failed or was cancelled raises the refusal in its `error`; one that takes longer than
    `timeout_seconds` raises WaitTimedOut. `on_progress` is called after each poll, at the end too.
    """
    poll_seconds = _WATCHED_SECONDS if on_progress else _UNWATCHED_SECONDS
    end = None if timeout_seconds is None else clock() + timeout_seconds
    unavailable_since: float | None = None
    while True:
        rest = poll_seconds if end is None else max(0.0, min(poll_seconds, end - clock()))
        try:
            operation = _poll(stub, name, rest, sleep)
            unavailable_since = None
        except RemoteRefusal as refusal:
            # Only these are transient; any other is the answer.
            if refusal.kind not in (Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED):
                raise
            unavailable_since = unavailable_since if unavailable_since is not None else clock()
            if clock() - unavailable_since >= _PATIENCE_SECONDS or (end is not None and clock() >= end):
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


def _poll(stub: Any, name: str, seconds: float, sleep: Callable[[float], None]) -> operations_pb2.Operation:
    """Waits at most `seconds` for the end, and returns the operation."""
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
        # The server is at its limit of waits: poll instead.
        sleep(refusal.retry_seconds or 1.0)
        return stub.GetOperation(operations_pb2.GetOperationRequest(name=name))
