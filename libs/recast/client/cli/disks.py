"""`recast disk`: DiskService."""

from typing import Annotated

import typer

from recast.client.cli.arguments import size_bytes
from recast.client.cli.command import command, group
from recast.client.cli.deletions import Deletion, Selection, delete_all
from recast.client.cli.options import (
    DiskId,
    DisksToDelete,
    DisplayName,
    Etag,
    NewId,
    OfImage,
    OfServer,
    OnHost,
    Paging,
    Work,
)
from recast.client.cli.session import Session
from recast.ecs.v1.disk_pb2 import Disk
from recast.ecs.v1.disk_service_pb2 import (
    AttachDiskRequest,
    CreateDiskRequest,
    DeleteDiskRequest,
    DetachDiskRequest,
    GetDiskConnectionRequest,
    GetDiskRequest,
    ListDisksRequest,
)

app = typer.Typer()

# An attached disk is IN_USE.
_UNATTACHED = 'role = "DATA" AND state = "AVAILABLE"'


def register(parent: typer.Typer, name: str, help_line: str, panel: str) -> None:
    """Adds the group."""
    group(app, parent, name, help_line, panel)


@command(app, "create")
def create(
    session: Session,
    *,
    work: Work,
    disk_id: NewId = "",
    size: Annotated[str, typer.Option("--size", help="Like 10GiB or 512MiB; the image's if not given.")] = "",
    image: OfImage = "",
    display_name: DisplayName = "",
    shared: Annotated[
        bool, typer.Option("--shared", help="Several servers may have it attached at once.")
    ] = False,
    host: OnHost = "",
) -> None:
    """Make a disk: empty, or from a data-disk image.

    \b
    recast disk create scratch --size 10GiB --wait
    recast disk create copy --image data-image
    """
    request = CreateDiskRequest(
        parent=session.parent,
        disk_id=disk_id,
        disk=Disk(display_name=display_name or disk_id, size_bytes=size_bytes(size), shared=shared),
        host=host,
        image=session.name(image, "images"),
        request_id=session.request_id,
        validate_only=work.validate_only,
    )
    session.begun(session.recast.disks.CreateDisk(request), "ecs", work)


@command(app, "get")
def get(session: Session, disk: DiskId) -> None:
    """Show one disk, and the servers it is attached to."""
    answer = session.recast.disks.GetDisk(GetDiskRequest(name=session.name(disk, "disks")))
    session.show(answer, answer.disk)


@command(app, "list")
def list_(session: Session, paging: Paging) -> None:
    """List the disks of the project, newest first.

    \b
    recast disk list --filter 'role = "DATA" AND state = "AVAILABLE"'
    """
    request = ListDisksRequest(parent=session.parent)
    session.list_pages(session.recast.disks.ListDisks, request, "disks", paging)


@command(app, "delete")
def delete(
    session: Session,
    *,
    work: Work,
    selection: Selection,
    disks: DisksToDelete = None,
    unattached: Annotated[
        bool, typer.Option("--unattached", help="Delete all data disks that are attached to no server.")
    ] = False,
    etag: Etag = "",
) -> None:
    """Delete disks that are attached to no server. Backups of them stay.

    \b
    recast disk delete scratch copy --wait
    recast disk delete --unattached --validate-only
    recast disk delete --unattached --filter 'display_name = "shop*"'
    """

    deletion = Deletion(
        "disks",
        "ecs",
        session.recast.disks.ListDisks,
        ListDisksRequest(parent=session.parent),
        session.recast.disks.DeleteDisk,
        DeleteDiskRequest,
    )
    conditions = [_UNATTACHED] if unattached else []
    if selection.filter:
        conditions.append(selection.filter)
    delete_all(session, deletion, disks or (), " AND ".join(conditions), work, etag)


@command(app, "attach")
def attach(session: Session, disk: DiskId, server: OfServer, work: Work) -> None:
    """Attach a data disk to a server, in the next free place.

    \b
    recast disk attach scratch --server web --wait
    """
    request = AttachDiskRequest(
        name=session.name(disk, "disks"),
        server=session.name(server, "servers"),
        request_id=session.request_id,
        validate_only=work.validate_only,
    )
    session.begun(session.recast.disks.AttachDisk(request), "ecs", work)


@command(app, "detach")
def detach(session: Session, disk: DiskId, server: OfServer, work: Work) -> None:
    """Detach a data disk from a server.

    \b
    recast disk detach scratch --server web --wait
    """
    request = DetachDiskRequest(
        name=session.name(disk, "disks"),
        server=session.name(server, "servers"),
        request_id=session.request_id,
        validate_only=work.validate_only,
    )
    session.begun(session.recast.disks.DetachDisk(request), "ecs", work)


@command(app, "connection", role="operator")
def connection(session: Session, disk: DiskId) -> None:
    """Show the path of a disk's bytes on its host. For operators: a minted token is an operator's.

    \b
    qemu-img info "$(recast disk connection web-data-1 -o json | jq -r .connection.path)"
    """
    request = GetDiskConnectionRequest(name=session.name(disk, "disks"))
    answer = session.recast.disks.GetDiskConnection(request)
    session.show(answer, answer.connection)
