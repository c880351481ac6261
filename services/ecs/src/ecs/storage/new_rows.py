"""The rows of planned servers and disks, before their files are made."""

from collections.abc import Callable, Sequence
from datetime import datetime

from ecs.domain.batch import PlannedDisk
from ecs.domain.disk import DiskState
from ecs.domain.refusals import ServerIdTaken
from ecs.domain.server import ServerState
from ecs.storage import disks
from ecs.storage.tables import AttachmentRow, DiskRow, ServerRow
from recast.database import Transaction
from recast.ecs.v1 import server_service_pb2 as pb

_LONGEST_READABLE = 48  # of a server's id, so that the ids of its disks have at most 63 characters


def new_server_row(
    project: str, request: pb.CreateServersRequest, server_id: str, title: str, host: str, now: datetime
) -> ServerRow:
    """The row of one server of a batch, CREATING."""
    return ServerRow(
        name=f"projects/{project}/servers/{server_id}",
        project=project,
        display_name=title,
        description=request.server.description,
        state=ServerState.CREATING,
        image=request.image,
        host=host,
        leave_stopped=request.leave_stopped,
        create_time=now,
        update_time=now,
    )


def add_server(
    tx: Transaction, row: ServerRow, plan: Sequence[PlannedDisk], new_id: Callable[[], str]
) -> ServerRow:
    """Adds a server with its planned disks; ServerIdTaken."""
    if tx.session.get(ServerRow, row.name) is not None:
        raise ServerIdTaken(server=row.name)
    tx.session.add(row)
    server_id = row.name.rpartition("/")[2]
    for disk in plan:
        suffix = "system" if disk.is_system else f"data-{disk.position}"
        name = f"projects/{row.project}/disks/{server_id}-{suffix}"
        if len(server_id) > _LONGEST_READABLE or tx.session.get(DiskRow, name) is not None:
            name = f"projects/{row.project}/disks/{new_id()}"
        made = new_disk_row(row, disk, name, new_id(), row.create_time)
        made.display_name = disk.display_name or f"{row.display_name}-{suffix}"
        tx.session.add(made)
        tx.session.flush()
        tx.session.add(AttachmentRow(server=row.name, disk=name, position=disk.position))
    return row


def new_disk_row(server: ServerRow, disk: PlannedDisk, name: str, folder: str, now: datetime) -> DiskRow:
    """The row of a planned disk of a server, CREATING."""
    return DiskRow(
        name=name,
        project=server.project,
        display_name=disk.display_name,
        role=disks.SYSTEM if disk.is_system else disks.DATA,
        state=DiskState.CREATING,
        size_bytes=disk.size_bytes,
        shared=disk.shared,
        folder=folder,
        base=disk.source.base if disk.source else "",
        source_image=disk.source.image if disk.source else "",
        source_image_disk=disk.source.id if disk.source else "",
        host=server.host,
        create_time=now,
        update_time=now,
    )
