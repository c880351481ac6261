"""`recast operation`: google.longrunning.Operations, which every service serves for its own work."""

import datetime
from collections.abc import Sequence
from typing import Annotated

import typer
from google.longrunning import operations_pb2

from recast.client.cli.arguments import ArgumentInvalid
from recast.client.cli.command import command, group
from recast.client.cli.options import Paging
from recast.client.cli.render import operations_table
from recast.client.cli.session import Session
from recast.client.waiting import metadata_of
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
    """List the work of one service, or of all three, newest first.

    \b
    recast operation list --filter 'done = "false"'
    recast operation list --limit 10
    recast operation list --service ims --filter 'verb = "CreateImage" AND state = "FAILED"'
    """
    if paging.order_by:
        raise ArgumentInvalid("--order-by", "is not for operations: the newest are listed first")
    for name, given in (("--page-token", paging.page_token), ("--page-size", paging.page_size)):
        if given and not service:
            raise ArgumentInvalid(
                name, "is of one service: give --service too; --limit counts over all three"
            )
    rows, more = _gathered(session, paging, _services(service))
    if session.table_wanted:
        session.print_text(operations_table(rows, datetime.datetime.now(datetime.UTC)))
    else:
        answer = operations_pb2.ListOperationsResponse(operations=[each for _, each in rows])
        answer.next_page_token = more.get(service, "") if service else ""
        session.show(answer)
    if not session.json_wanted or not service:
        for each, token in more.items():
            session.say(f"there are more of {each}: --all, or --service {each} --page-token {token}")


def _gathered(
    session: Session, paging: Paging, services: Sequence[Service]
) -> tuple[list[tuple[Service, operations_pb2.Operation]], dict[Service, str]]:
    """The operations of the services, newest first, and the token of the next page of each that has more."""
    rows: list[tuple[Service, operations_pb2.Operation]] = []
    more: dict[Service, str] = {}
    for each in services:
        request = operations_pb2.ListOperationsRequest(name=session.parent)
        calls = session.recast.operations(each)
        page = session.gather(calls.ListOperations, request, "operations", paging)
        rows += [(each, operation) for operation in page.operations]
        if page.next_page_token:
            more[each] = page.next_page_token
    # Stable, so that the order within a service stays.
    rows.sort(key=lambda row: metadata_of(row[1]).create_time.ToNanoseconds(), reverse=True)
    if paging.limit and len(services) > 1:
        return rows[: paging.limit], {}  # a token is after the last of a service, which may be cut off
    return rows, more


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
