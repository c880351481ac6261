"""The two ways to operations: within the process, and by a gRPC client. One suite holds both."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from google.longrunning import operations_pb2 as pb
from google.longrunning import operations_pb2_grpc

from recast.operations import Operations, OperationsServicer, Waits, operation_from_row
from recast.rpc.access import PEOPLE
from recast.rpc.channel import connect
from recast.rpc.identity import Verifier
from recast.rpc.server import Registration, Server


class Reach(Protocol):
    """The calls of a caller on work of the project `demo`, by its id."""

    def get(self, operation: str) -> pb.Operation:
        """The operation; OPERATION_NOT_FOUND."""

    def cancel(self, operation: str) -> None:
        """Requests the cancellation of work."""

    def delete(self, operation: str) -> None:
        """Forgets work that has ended; OPERATION_RUNNING."""


class InProcess:
    """The calls of a service's own code."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def get(self, operation: str) -> pb.Operation:
        """The operation."""
        with self._operations.database.read() as session:
            return operation_from_row(self._operations.find(session, "demo", operation))

    def cancel(self, operation: str) -> None:
        """Requests the cancellation of work."""
        with self._operations.database.write() as tx:
            self._operations.request_cancel(tx, self._operations.find(tx.session, "demo", operation))
            tx.commit()

    def delete(self, operation: str) -> None:
        """Forgets work that has ended."""
        with self._operations.database.write() as tx:
            self._operations.delete(tx, self._operations.find(tx.session, "demo", operation))
            tx.commit()


class ByClient:
    """The calls of another process: through a channel, a server and its checks."""

    def __init__(self, stub: operations_pb2_grpc.OperationsStub) -> None:
        self._stub = stub

    def get(self, operation: str) -> pb.Operation:
        """The operation."""
        return self._stub.GetOperation(pb.GetOperationRequest(name=_name(operation)))

    def cancel(self, operation: str) -> None:
        """Requests the cancellation of work."""
        self._stub.CancelOperation(pb.CancelOperationRequest(name=_name(operation)))

    def delete(self, operation: str) -> None:
        """Forgets work that has ended."""
        self._stub.DeleteOperation(pb.DeleteOperationRequest(name=_name(operation)))


def _name(operation: str) -> str:
    return f"projects/demo/operations/{operation}"


@contextmanager
def served(operations: Operations, verifier: Verifier, token: str) -> Iterator[ByClient]:
    """A client of the project of the token, and the server that it reaches."""
    add = operations_pb2_grpc.add_OperationsServicer_to_server
    servicer = OperationsServicer(operations, Waits(operations))
    registration = Registration("google.longrunning.Operations", add, servicer, PEOPLE)
    server = Server("test", "127.0.0.1:0", verifier, [registration])
    server.start()
    try:
        with connect(f"127.0.0.1:{server.port}", lambda: token) as channel:
            yield ByClient(operations_pb2_grpc.OperationsStub(channel))
    finally:
        server.stop(0)
