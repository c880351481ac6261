"""The progress of one piece of work on several disks."""

from recast.chunkstore import Progress
from recast.longrunning.v1 import operation_metadata_pb2 as pb
from recast.operations import Work


class DiskProgress:
    """Reports the progress of each of several disks; every report also checks for a cancel."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._disks: dict[str, pb.DiskProgress] = {}

    def of(self, disk: str, total_bytes: int) -> Progress:
        """The callback of the disk's reader or writer, with (bytes done, bytes in total)."""
        progress = self._disks.setdefault(disk, pb.DiskProgress(disk=disk, total_bytes=total_bytes))

        def report(done: int, total: int) -> None:
            progress.done_bytes = done * total_bytes // total if total else total_bytes
            self._work.progress(list(self._disks.values()))

        return report
