"""Progress over several disks as one piece of work."""

from recast.chunkstore import Progress
from recast.longrunning.v1 import operation_metadata_pb2 as pb
from recast.operations import Work


class DiskProgress:
    """Shows how far each of several disks is; a cancel is noticed here."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._disks: dict[str, pb.DiskProgress] = {}

    def of(self, disk: str, total_bytes: int) -> Progress:
        """What a reader or writer of the disk calls with (bytes done, bytes in all)."""
        shown = self._disks.setdefault(disk, pb.DiskProgress(disk=disk, total_bytes=total_bytes))

        def show(done: int, total: int) -> None:
            shown.done_bytes = done * total_bytes // total if total else total_bytes
            self._work.progress(list(self._disks.values()))

        return show
