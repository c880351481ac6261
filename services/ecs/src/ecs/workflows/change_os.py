"""ChangeServerOs and ReinstallServerOs: a new system disk is built beside the old one and swapped in by one
transaction.

After a crash at any point the server has a complete system disk, the old or the new. Of the image only the
system disk is used, and no data disk is opened (R35, R36).
"""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.message import Message
from sqlmodel import Session

from ecs.domain.disk import DiskEvent
from ecs.domain.refusals import DiskIoFailed
from ecs.domain.server import ServerEvent
from ecs.peers.ims import Images
from ecs.storage import disks, servers
from ecs.storage.host import Host, disk_faults
from ecs.storage.tables import AttachmentRow, DiskRow
from ecs.workflows.create_servers import bring_bases, remove_rows, unpin
from ecs.workflows.failing import fail_disk
from recast.database import Database, Transaction
from recast.diskimage import NewDisk
from recast.ecs.v1 import server_service_pb2 as pb
from recast.faults import Refusal
from recast.operations import Work
from recast.rpc.names import parse_name

_LONGEST_ID = 63


class ChangeServerOs:
    """The workflow of both. The handler records the new disk's row, CREATING and detached, with the work."""

    def __init__(self, database: Database, images: Images, host: Host, now: Callable[[], datetime]) -> None:
        self._database = database
        self._images = images
        self._host = host
        self._now = now

    def run(self, work: Work) -> Message:
        """See the module."""
        request = pb.ChangeServerOsRequest.FromString(work.request)
        if not work.done("swap"):  # after it the owner may have deleted the server
            new = self._new_disk(work)
            work.step("pin", lambda: self._images.pin(request.image, work.id, work.target))
            bring_bases(work, self._host, {request.image: self._images.resolve(request.image)}, [new])
            self._build(new)
        old = work.transact("swap", lambda tx: self._swap(tx, work, request), decides=True)
        work.step("remove", lambda: self._remove(old))
        unpin(work, self._images, [request.image])
        with self._database.read() as session:
            return servers.current(session, work.target)

    def undo(self, work: Work, error: Refusal) -> None:
        """The server keeps its old system disk, and is STOPPED as before; a disk that cannot be removed is in
        ERROR.
        """
        request = pb.ChangeServerOsRequest.FromString(work.request)
        with self._database.read() as session:
            new = _new_disk_name(session, work)
        if work.done("swap"):
            old = work.recall("swap")
            work.transact("undo:disk", lambda tx: fail_disk(tx, old, error, self._now()))
        else:
            try:
                self._remove(new)
            except DiskIoFailed:
                if not work.is_last_try:
                    raise
                work.transact("undo:disk", lambda tx: fail_disk(tx, new, error, self._now()))
            work.transact("undo:server", lambda tx: self._mark_stopped(tx, work.target))
        unpin(work, self._images, [request.image])

    def _new_disk(self, work: Work) -> DiskRow:
        with self._database.read() as session:
            return disks.load(session, _new_disk_name(session, work))

    def _build(self, new: DiskRow) -> None:
        with disk_faults():
            self._host.create([NewDisk(new.folder, new.size_bytes, new.base)])

    def _swap(self, tx: Transaction, work: Work, request: pb.ChangeServerOsRequest) -> str:
        """V7: makes the new disk, with its own id, the system disk; gives the name of the old one."""
        row = servers.load(tx.session, work.target, lock=True)
        place, old = next(
            pair for pair in disks.attached_to(tx.session, row.name) if pair[1].role == disks.SYSTEM
        )
        new = disks.load(tx.session, _new_disk_name(tx.session, work), lock=True)
        position = place.position
        disks.move(tx, old, DiskEvent.RELEASED, self._now())
        tx.session.delete(place)
        tx.session.flush()
        tx.session.add(AttachmentRow(server=row.name, disk=new.name, position=position))
        disks.move(tx, new, DiskEvent.MADE_IN_PLACE, self._now())
        row.image = request.image
        servers.move(tx, row, ServerEvent.UP if request.power_on else ServerEvent.DOWN, self._now())
        return old.name

    def _remove(self, name: str) -> None:
        """Removes a disk, files first; a disk that does not exist is no error."""
        with self._database.read() as session:
            row = session.get(DiskRow, name)
        if row is None:
            return
        with disk_faults():
            self._host.delete(row.folder)
        with self._database.write() as tx:
            remove_rows(tx, [disks.load(tx.session, name, lock=True)])
            tx.commit()

    def _mark_stopped(self, tx: Transaction, name: str) -> None:
        row = servers.load(tx.session, name, lock=True)
        servers.move(tx, row, ServerEvent.DOWN, self._now())


def new_disk_name(session: Session, server: str, operation: str) -> str:
    """The free name of the system disk that an OS change makes: `web-system-1f3a9c02`, by the work's id.

    If that is too long, or there is such a disk, the id is the work's.
    """
    readable = _readable_disk_name(server, operation)
    is_free = session.get(DiskRow, readable) is None
    return (
        readable
        if is_free and len(readable.rpartition("/")[2]) <= _LONGEST_ID
        else _disk_name(server, operation)
    )


def _new_disk_name(session: Session, work: Work) -> str:
    """The name that `new_disk_name` gave, by the disk that has its id: work of older versions has its own."""
    own = _disk_name(work.target, work.id)
    return own if session.get(DiskRow, own) is not None else _readable_disk_name(work.target, work.id)


def _readable_disk_name(server: str, operation: str) -> str:
    return _disk_name(server, f"{server.rpartition('/')[2]}-system-{operation[:8]}")


def _disk_name(server: str, disk_id: str) -> str:
    name = parse_name(server, "servers")
    return f"projects/{name.project}/disks/{disk_id}"
