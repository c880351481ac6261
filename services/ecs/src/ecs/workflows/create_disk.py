"""CreateDisk: pin the image, bring its base into the cache, make the disk, unpin.

Undo removes the files and leaves the row in ERROR.
"""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.message import Message

from ecs.domain.disk import DiskEvent
from ecs.domain.refusals import DiskIoFailed
from ecs.peers.ims import Images
from ecs.storage import disks
from ecs.storage.host import Host, disk_faults
from ecs.workflows.create_servers import bring_bases, unpin
from ecs.workflows.failing import fail_disk
from recast.database import Database, Transaction
from recast.diskimage import NewDisk
from recast.ecs.v1 import disk_service_pb2
from recast.faults import Refusal
from recast.operations import Work


class CreateDisk:
    """The workflow. The disk's row holds the plan."""

    def __init__(self, database: Database, images: Images, host: Host, now: Callable[[], datetime]) -> None:
        self._database = database
        self._images = images
        self._host = host
        self._now = now

    def run(self, work: Work) -> Message:
        """See the module."""
        wanted = _images_wanted(work)
        if not work.done("made"):  # after it the owner may have deleted the disk
            with self._database.read() as session:
                row = disks.load(session, work.target)
            for image in wanted:
                work.step("pin", lambda image=image: self._images.pin(image, work.id, work.target))  # type: ignore[misc]
            bring_bases(work, self._host, {image: self._images.resolve(image) for image in wanted}, [row])
            with disk_faults():
                self._host.create([NewDisk(row.folder, row.size_bytes, row.base or None)])
        work.transact("made", lambda tx: self._finish(tx, work.target), decides=True)
        unpin(work, self._images, wanted)
        with self._database.read() as session:
            return disks.current(session, work.target)

    def undo(self, work: Work, error: Refusal) -> None:
        """Removes the files and leaves the disk in ERROR."""
        if not work.done("made") and not work.done("undo:made"):
            with self._database.read() as session:
                row = disks.load(session, work.target)
            try:
                with disk_faults():
                    self._host.delete(row.folder)
            except DiskIoFailed:
                # After the last try the deletion of the disk removes the files.
                if not work.is_last_try:
                    raise
            work.transact("undo:made", lambda tx: fail_disk(tx, work.target, error, self._now()))
        unpin(work, self._images, _images_wanted(work))

    def _finish(self, tx: Transaction, name: str) -> None:
        disks.move(tx, disks.load(tx.session, name, lock=True), DiskEvent.MADE, self._now())


def _images_wanted(work: Work) -> list[str]:
    """The image to pin, by the request: the row of the disk may be deleted before the image is unpinned."""
    image = disk_service_pb2.CreateDiskRequest.FromString(work.request).image
    return [image] if image else []
