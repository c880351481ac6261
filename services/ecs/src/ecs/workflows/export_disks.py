"""ExportDisks: writes frozen disks to a chunk store; of a disk with tracked changes only these.

There is nothing to undo: CSBS owns the store.
"""

from google.protobuf.message import Message

from ecs.storage import disks
from ecs.storage.host import Host, disk_faults
from ecs.storage.tables import DiskRow
from ecs.workflows.disk_progress import DiskProgress
from recast.chunkstore import ChunkStore, DiskIndex, IndexCorrupt, IndexMissing, IndexRef, Progress
from recast.content.v1 import content_pb2
from recast.database import Database
from recast.ecs.v1 import backup_source_service_pb2 as pb
from recast.faults import Refusal
from recast.operations import Interrupted, Work

_LARGER_PARENT_BYTES = 1 << 40


class ExportDisks:
    """The workflow: one recorded step for each disk."""

    def __init__(self, database: Database, host: Host) -> None:
        self._database = database
        self._host = host

    def run(self, work: Work) -> Message:
        """See the module."""
        request = pb.ExportDisksRequest.FromString(work.request)
        progress = DiskProgress(work)
        with self._database.read() as session:
            rows = {disk.disk: disks.load(session, disk.disk) for disk in request.disks}
        reports = {name: progress.of(name, row.size_bytes) for name, row in rows.items()}
        result = pb.ExportDisksResult()
        for disk in request.disks:
            row, report = rows[disk.disk], reports[disk.disk]
            written = work.step(
                f"export {disk.disk}",
                lambda disk=disk, row=row, report=report: self._export(work, request, disk, row, report),  # type: ignore[misc]
                pb.ExportedDisk,
            )
            report(row.size_bytes, row.size_bytes)
            result.disks.append(written)
        return result

    def undo(self, work: Work, error: Refusal) -> None:
        """Nothing: CSBS deletes a written index, and its chunks await collection."""

    def _export(
        self,
        work: Work,
        request: pb.ExportDisksRequest,
        disk: pb.ExportDisk,
        row: DiskRow,
        report: Progress,
    ) -> pb.ExportedDisk:
        folder = self._host.disk(row.folder)
        with (
            disk_faults(disk.disk),
            self._host.stores.open(request.store) as store,
            folder.frozen_reader(request.freeze_id, work.check) as source,
        ):
            parent = _parent(store, disk, row.size_bytes)
            is_known = (
                parent is not None and bool(row.tracked_backup) and row.tracked_backup == disk.parent_backup
            )
            # Unchanged extents may be skipped only when the layers beneath equal the parent's content.
            changed = folder.changed_extents(request.freeze_id, work.check) if is_known else None
            written = store.write_disk(
                source,
                disk.index_id,
                parent=parent,
                changed=changed,
                progress=report,
                resumed_after=(Interrupted,),
            )
        return pb.ExportedDisk(
            disk=disk.disk,
            index=content_pb2.IndexRef(id=written.ref.id, digest=written.ref.digest),
            size_bytes=written.size_bytes,
            data_bytes=written.data_bytes,
            read_bytes=written.read_bytes,
            stored_bytes=written.stored_bytes,
            incremental=is_known,
        )


def _parent(store: ChunkStore, disk: pb.ExportDisk, size_bytes: int) -> DiskIndex | None:
    """The earlier index, if it exists and is intact. Without it every byte is read, to the same result."""
    if not disk.HasField("parent"):
        return None
    try:
        # The disk may have been larger; an index beyond the limit is read as none.
        limit = max(size_bytes, _LARGER_PARENT_BYTES)
        return store.read_index(IndexRef(disk.parent.id, disk.parent.digest, limit))
    except (IndexMissing, IndexCorrupt):
        return None
