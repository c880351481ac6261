"""`recast operation`: google.longrunning.Operations, which every service serves for its own work."""

from collections.abc import Sequence
from typing import Annotated

import typer
from google.longrunning import operations_pb2

from recast.client.cli.arguments import ArgumentInvalid
from recast.client.cli.command import command, group
from recast.client.cli.options import Paging
from recast.client.cli.session import Session
from recast.contracts.services import SERVICES, Service
from recast.faults import Kind, RemoteRefusal

app = typer.Typer()

OperationId = Annotated[str, typer.Argument(metavar="OPERATION", help="Its id or name.")]
OfService = Annotated[
    Service | None,
    typer.Option("--service", "-s", help="Its service; without it all three are searched."),
]


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the group."""
    group(app, parent, name, help_line, panel)


def _services(service: Service | None) -> Sequence[Service]:
    return (service,) if service else SERVICES


def _find(session: Session, name: str, service: Service | None) -> tuple[Service, operations_pb2.Operation]:
    """The operation and the service that has it; the last service's refusal when none has."""
    unknown: RemoteRefusal | None = None
    for each in _services(service):
        try:
            request = operations_pb2.GetOperationRequest(name=name)
            return each, session.recast.operations(each).GetOperation(request)
        except RemoteRefusal as refusal:
            if service or refusal.kind not in (Kind.NOT_FOUND, Kind.UNAVAILABLE):
                raise
            # An unavailable service may have it: that is the better answer.
            unknown = refusal if unknown is None or refusal.kind is Kind.UNAVAILABLE else unknown
    assert unknown is not None  # there is at least one service
    raise unknown


def _owner(session: Session, name: str, service: Service | None) -> Service:
    return service if service else _find(session, name, None)[0]


@command(app, "get")
def get(session: Session, operation: OperationId, service: OfService = None) -> None:
    """Show the state and result of an operation.

    \b
    recast operation get 01hx --service csbs
    """
    _, found = _find(session, session.name(operation, "operations"), service)
    session.show(found)


@command(app, "list")
def list_(session: Session, paging: Paging, service: OfService = None) -> None:
    """List the work of one service, or of all three.

    \b
    recast operation list --filter 'done = "false"'
    recast operation list --service ims --filter 'verb = "CreateImage" AND state = "FAILED"'
    """
    if paging.page_token and not service:
        raise ArgumentInvalid("--page-token", "is of one service: give --service as well")
    found = operations_pb2.ListOperationsResponse()
    for each in _services(service):
        request = operations_pb2.ListOperationsRequest(name=session.parent)
        calls = session.recast.operations(each)
        found.MergeFrom(session.gather(calls.ListOperations, request, "operations", paging))
    session.show_page(found, "operations")


@command(app, "wait")
def wait(
    session: Session,
    operation: OperationId,
    service: OfService = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0, help="Give up after so many seconds; the work goes on."),
    ] = None,
) -> None:
    """Wait for the end of a piece of work, with a bar. Fails with the work's reason.

    \b
    recast operation wait 01hx --service csbs --timeout 60
    """
    name = session.name(operation, "operations")
    session.show(session.wait(name, _owner(session, name, service), timeout))


@command(app, "cancel")
def cancel(session: Session, operation: OperationId, service: OfService = None) -> None:
    """Cancel a piece of work. It ends CANCELLED, or with its result if it was already decided."""
    name = session.name(operation, "operations")
    found = _owner(session, name, service)
    session.recast.operations(found).CancelOperation(operations_pb2.CancelOperationRequest(name=name))
    session.say(f"requested; to wait for its end:  {session.command('wait', name, found)}")


@command(app, "delete")
def delete(session: Session, operation: OperationId, service: OfService = None) -> None:
    """Delete the record of ended work. Its resources stay."""
    name = session.name(operation, "operations")
    found = _owner(session, name, service)
    session.recast.operations(found).DeleteOperation(operations_pb2.DeleteOperationRequest(name=name))
    session.say(f"deleted: {name}")
