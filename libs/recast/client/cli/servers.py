"""`recast server`: ServerService."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from recast.client.cli import render
from recast.client.cli.arguments import assignments, size_bytes, update_mask
from recast.client.cli.command import command, group
from recast.client.cli.deletions import Deletion, Selection, delete_all
from recast.client.cli.options import (
    Change,
    Description,
    DisplayName,
    Etag,
    NewDescription,
    NewDisplayName,
    NewId,
    OfImage,
    OnHost,
    Paging,
    PowerOn,
    ServerId,
    ServersToDelete,
    Work,
)
from recast.client.cli.session import Session
from recast.content.v1.content_pb2 import DISK_ROLE_DATA
from recast.ecs.v1.server_pb2 import Server
from recast.ecs.v1.server_service_pb2 import (
    ChangeServerOsRequest,
    CreateServersRequest,
    CreateServersResponse,
    CreateServersResult,
    DataDiskSpec,
    DeleteServerRequest,
    DeleteServerResponse,
    GetServerRequest,
    ListServersRequest,
    RebootServerRequest,
    ReinstallServerOsRequest,
    ServerOutcome,
    StartServerRequest,
    StopServerRequest,
    SystemDiskSpec,
    UpdateServerRequest,
)

app = typer.Typer()

SystemDiskSize = Annotated[
    str,
    typer.Option(
        "--system-disk",
        metavar="SIZE",
        help="The system disk's size, like 40GiB; never less than the image's.",
    ),
]
_DISK_KEYS = ("image-disk", "image", "size", "name", "shared")


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the group."""
    group(app, parent, name, help_line, panel)


@command(app, "create")
def create(
    session: Session,
    *,
    image: OfImage,
    work: Work,
    server_id: NewId = "",
    display_name: DisplayName = "",
    description: Description = "",
    count: Annotated[
        int, typer.Option("--count", min=1, max=100, help="How many; the ids get -0000, -0001...")
    ] = 1,
    system_disk: SystemDiskSize = "",
    data_disk: Annotated[
        list[str] | None,
        typer.Option(
            "--data-disk",
            metavar="KEY=VALUE,...",
            help="image-disk=data-1 configures that disk of the image; image=IMAGE adds one from a "
            "data-disk image; neither adds an empty one; beside it size=20GiB, name=NAME, shared. "
            "May be given many times.",
        ),
    ] = None,
    leave_stopped: Annotated[
        bool, typer.Option("--leave-stopped", help="Leave the new servers off.")
    ] = False,
    host: OnHost = "",
) -> None:
    """Make servers from an image: with every disk of a full-server image, as they were in the backup.

    \b
    recast server create shop --image web-image --wait
    recast server create batch --image web-image --count 20 --leave-stopped
    recast server create big --image web-image --system-disk 80GiB --data-disk image-disk=data-1,size=1TiB
    recast server create more --image web-image --data-disk size=10GiB,name=scratch
    """
    request = CreateServersRequest(
        parent=session.parent,
        server_id=server_id,
        server=Server(
            display_name=display_name or server_id or image.rpartition("/")[2], description=description
        ),
        count=count,
        image=session.name(image, "images"),
        system_disk=SystemDiskSpec(size_bytes=size_bytes(system_disk, "--system-disk"))
        if system_disk
        else None,
        data_disks=[_data_disk(session, each) for each in data_disk or ()],
        leave_stopped=leave_stopped,
        host=host,
        request_id=session.request_id,
        validate_only=work.validate_only,
    )
    answer = session.recast.servers.CreateServers(request)
    session.begun(answer, "ecs", work, lambda ended: _read_again(session, ended))
    _report_failures(session, answer.operation)


def _read_again(session: Session, answer: CreateServersResponse) -> None:
    """Replaces the servers that were CREATING by their current state; failed ones are removed."""
    made = [each.server for each in _outcomes(answer.operation) if not each.HasField("error")]
    del answer.servers[:]
    answer.servers.extend(
        session.recast.servers.GetServer(GetServerRequest(name=name)).server for name in made
    )


def _report_failures(session: Session, operation: Any) -> None:
    """Prints the servers of a batch that were not made, and fails if there are any (R14)."""
    failed = [each for each in _outcomes(operation) if each.HasField("error")]
    for each in failed:
        session.say(f"not made: {each.server}: {render.status_line(each.error)}")
    if failed:
        raise typer.Exit(1)


def _outcomes(operation: Any) -> Sequence[ServerOutcome]:
    result = CreateServersResult()
    operation.response.Unpack(result)
    return result.outcomes


def _data_disk(session: Session, text: str) -> DataDiskSpec:
    given = assignments(text, _DISK_KEYS, "--data-disk")
    spec = DataDiskSpec(
        size_bytes=size_bytes(given.get("size", ""), "--data-disk size"),
        shared=given.get("shared") == "true",
        display_name=given.get("name", ""),
    )
    if "image-disk" in given:
        spec.image_disk = given["image-disk"]
    if "image" in given:
        spec.image = session.name(given["image"], "images")
    return spec


@command(app, "get")
def get(session: Session, server: ServerId) -> None:
    """Show one server, with its disks."""
    answer = session.recast.servers.GetServer(GetServerRequest(name=session.name(server, "servers")))
    session.show(answer, answer.server)


@command(app, "list")
def list_(session: Session, paging: Paging) -> None:
    """List the servers of the project, newest first.

    \b
    recast server list --filter 'state = "RUNNING"'
    """
    request = ListServersRequest(parent=session.parent)
    session.list_pages(session.recast.servers.ListServers, request, "servers", paging)


@command(app, "update")
def update(
    session: Session,
    *,
    server: ServerId,
    change: Change,
    display_name: NewDisplayName = None,
    description: NewDescription = None,
    etag: Etag = "",
) -> None:
    """Change a server's name for people, or its description."""
    mask = update_mask(display_name=display_name, description=description)
    request = UpdateServerRequest(
        server=Server(
            name=session.name(server, "servers"),
            etag=etag,
            display_name=display_name or "",
            description=description or "",
        ),
        update_mask=mask,
        request_id=session.request_id,
        validate_only=change.validate_only,
    )
    answer = session.recast.servers.UpdateServer(request)
    session.show(answer, answer.server)


@command(app, "delete")
def delete(
    session: Session,
    *,
    work: Work,
    selection: Selection,
    servers: ServersToDelete = None,
    delete_data_disks: Annotated[
        bool,
        typer.Option("--delete-data-disks", help="Delete its data disks too, except shared ones."),
    ] = False,
    etag: Etag = "",
) -> None:
    """Delete servers with their system disks. Their data disks are detached and stay, unless
    --delete-data-disks is given; those that stay are named.

    \b
    recast server delete shop-0000 shop-0001 --delete-data-disks --wait
    recast server delete --filter 'display_name = "shop*"' --validate-only
    """

    def leaves(answer: DeleteServerResponse) -> Sequence[str]:
        data = [each for each in answer.server.disks if each.role == DISK_ROLE_DATA]
        return [each.disk for each in data if each.shared or not delete_data_disks]

    deletion = Deletion(
        "servers",
        "ecs",
        session.recast.servers.ListServers,
        ListServersRequest(parent=session.parent),
        session.recast.servers.DeleteServer,
        DeleteServerRequest,
        options={"delete_data_disks": delete_data_disks},
        leaves=leaves,
    )
    delete_all(session, deletion, servers or (), selection.filter, work, etag)


@command(app, "start")
def start(session: Session, server: ServerId, work: Work, etag: Etag = "") -> None:
    """Start a stopped server. Refused while an image is being made from it (R23)."""
    request = StartServerRequest(
        name=session.name(server, "servers"),
        etag=etag,
        request_id=session.request_id,
        validate_only=work.validate_only,
    )
    session.begun(session.recast.servers.StartServer(request), "ecs", work)


@command(app, "stop")
def stop(session: Session, server: ServerId, work: Work, etag: Etag = "") -> None:
    """Stop a running server."""
    request = StopServerRequest(
        name=session.name(server, "servers"),
        etag=etag,
        request_id=session.request_id,
        validate_only=work.validate_only,
    )
    session.begun(session.recast.servers.StopServer(request), "ecs", work)


@command(app, "reboot")
def reboot(session: Session, server: ServerId, work: Work, etag: Etag = "") -> None:
    """Stop and start a running server."""
    request = RebootServerRequest(
        name=session.name(server, "servers"),
        etag=etag,
        request_id=session.request_id,
        validate_only=work.validate_only,
    )
    session.begun(session.recast.servers.RebootServer(request), "ecs", work)


@command(app, "change-os")
def change_os(
    session: Session,
    *,
    server: ServerId,
    image: OfImage,
    work: Work,
    system_disk: SystemDiskSize = "",
    power_on: PowerOn = False,
    etag: Etag = "",
) -> None:
    """Replace a stopped server's system disk by a new one from an image. No data disk is written (R35).

    \b
    recast server change-os web --image debian --power-on --wait
    """
    request = ChangeServerOsRequest(
        name=session.name(server, "servers"),
        image=session.name(image, "images"),
        system_disk_bytes=size_bytes(system_disk, "--system-disk"),
        power_on=power_on,
        etag=etag,
        request_id=session.request_id,
        validate_only=work.validate_only,
    )
    session.begun(session.recast.servers.ChangeServerOs(request), "ecs", work)


@command(app, "reinstall-os")
def reinstall_os(
    session: Session,
    *,
    server: ServerId,
    work: Work,
    system_disk: SystemDiskSize = "",
    power_on: PowerOn = False,
    etag: Etag = "",
) -> None:
    """Replace a stopped server's system disk by a new one from the image that it was made from."""
    request = ReinstallServerOsRequest(
        name=session.name(server, "servers"),
        system_disk_bytes=size_bytes(system_disk, "--system-disk"),
        power_on=power_on,
        etag=etag,
        request_id=session.request_id,
        validate_only=work.validate_only,
    )
    session.begun(session.recast.servers.ReinstallServerOs(request), "ecs", work)
