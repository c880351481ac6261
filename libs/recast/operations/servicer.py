"""google.longrunning.Operations over the table."""

from datetime import datetime
from typing import Any

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import empty_pb2
from sqlalchemy import and_

from recast.operations.registry import Operations, operation_from_row
from recast.operations.tables import OperationRow
from recast.operations.waits import Waits, WaitShares
from recast.resources import Field, Listing, boolean
from recast.rpc.call import Call, enter_project
from recast.rpc.names import parse_name, parse_parent

_LISTING: Listing[OperationRow] = Listing(
    OperationRow,
    {
        "state": Field(OperationRow.state),
        "verb": Field(OperationRow.verb),
        "target": Field(OperationRow.target),
        "done": boolean(OperationRow.ended),
        "create_time": Field(OperationRow.create_time, parse=datetime.fromisoformat, sortable=True),
    },
)
_DEFAULT_WAIT_SECONDS, _MAX_WAIT_SECONDS = 10.0, 60.0


class OperationsServicer(operations_pb2_grpc.OperationsServicer):  # type: ignore[misc]  # generated without types
    """Get, List, Wait, Cancel and Delete. At most `max_waits` calls wait at once, shared by project."""

    def __init__(
        self, operations: Operations, waits: Waits, max_waits: int = 128, min_share: int = 8
    ) -> None:
        self._operations = operations
        self._waits = waits
        self._shares = WaitShares(max_waits, min_share)

    def GetOperation(self, request: Any, context: grpc.ServicerContext) -> operations_pb2.Operation:
        """The state of the work."""
        return self._read(request.name)

    def ListOperations(
        self, request: Any, context: grpc.ServicerContext
    ) -> operations_pb2.ListOperationsResponse:
        """The operations of `projects/{project}`, newest first; filter over state, verb, target, done,
        create_time. Children of an operation are not listed beside it.
        """
        project = enter_project(parse_parent(request.name, "name"))
        with self._operations.database.read() as session:
            page = _LISTING.page(
                session,
                and_(OperationRow.project == project, OperationRow.parent == ""),  # type: ignore[arg-type]
                scope=f"operations/{project}",
                filter_text=request.filter,
                order_by="",
                page_size=max(0, request.page_size),
                page_token=request.page_token,
            )
        operations, token = page.answer([operation_from_row(row) for row in page.rows])
        return operations_pb2.ListOperationsResponse(operations=operations, next_page_token=token)

    async def WaitOperation(
        self, request: operations_pb2.WaitOperationRequest, context: Call
    ) -> operations_pb2.Operation:
        """The state of the work when it has ended, or after `timeout`: default 10 s, at most 60."""
        seconds = (
            request.timeout.ToNanoseconds() / 1e9 if request.HasField("timeout") else _DEFAULT_WAIT_SECONDS
        )
        remaining = context.time_remaining()
        # Half a second before the caller's own deadline, so that the answer still arrives.
        seconds = min(
            seconds, _MAX_WAIT_SECONDS, remaining - 0.5 if remaining is not None else _MAX_WAIT_SECONDS
        )
        operation = await context.in_thread(self._read, request.name)
        if operation.done or seconds <= 0:
            return operation
        name = parse_name(request.name, "operations")
        async with self._shares.waiting(name.project):
            await self._waits.wait_until_ended(name.id, seconds, context)
        return await context.in_thread(self._read, request.name)

    def CancelOperation(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Requests the cancel of the work.

        It ends CANCELLED, or with its result if it was already decided.
        """
        name = parse_name(request.name, "operations")
        with self._operations.database.write() as tx:
            row = self._operations.find(tx.session, enter_project(name.project), name.id)
            self._operations.request_cancel(tx, row)
            tx.commit()
        return empty_pb2.Empty()

    def DeleteOperation(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Deletes work that has ended."""
        name = parse_name(request.name, "operations")
        with self._operations.database.write() as tx:
            row = self._operations.find(tx.session, enter_project(name.project), name.id)
            self._operations.delete(tx, row)
            tx.commit()
        return empty_pb2.Empty()

    def _read(self, text: str) -> operations_pb2.Operation:
        name = parse_name(text, "operations")
        with self._operations.database.read() as session:
            return operation_from_row(self._operations.find(session, enter_project(name.project), name.id))
