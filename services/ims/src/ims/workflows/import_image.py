"""ImportImage: judge the uploaded file, write it to the chunk store, inspect the content, publish.

Undo removes the index and the file, and leaves the image in ERROR with the reason.
"""

from collections.abc import Callable
from datetime import datetime

from google.protobuf.message import Message

from ims.domain.content import decide_content
from ims.domain.image import ImageEvent, ImageKind
from ims.domain.refusals import UploadMismatch
from ims.storage import images
from ims.storage.chunks import ImageChunks, storage_faults
from ims.storage.reports import content_from_report, image_from_report
from ims.storage.space import Space
from ims.storage.staging import Staging
from ims.storage.tables import ImageRow
from ims.workflows.create_image import DOMAIN, register_content
from recast.chunkstore import IndexRef, WrittenDisk
from recast.content.v1 import content_pb2
from recast.contentstore import partition_name
from recast.database import Database, Transaction
from recast.diskimage import ImageFormat, inspect_image, open_imported
from recast.faults import Refusal, StoreIoFailed
from recast.ims.v1 import image_pb2, image_service_pb2
from recast.longrunning.v1 import operation_metadata_pb2
from recast.operations import Interrupted, Work
from recast.preparation import Inspector
from recast.rpc.status import status_from_refusal


class ImportImage:
    """The workflow. `max_virtual_bytes` is the size of the largest disk that is accepted, `max_expansion` the
    largest content of a compressed file, in multiples of its bytes.
    """

    def __init__(
        self,
        database: Database,
        chunks: ImageChunks,
        staging: Staging,
        inspector: Inspector,
        space: Space,
        max_virtual_bytes: int,
        max_expansion: int,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._chunks = chunks
        self._staging = staging
        self._inspector = inspector
        self._space = space
        self._max_virtual_bytes = max_virtual_bytes
        self._max_expansion = max_expansion
        self._now = now

    def run(self, work: Work) -> Message:
        """See the module."""
        if not work.done("publish"):
            self._make(work)
        with self._database.read() as session:
            return images.current(session, work.target)

    def _make(self, work: Work) -> None:
        with self._database.read() as session:
            row = images.load(session, work.target)
        header = image_service_pb2.ImportImageHeader.FromString(row.upload_header)
        with storage_faults(row.name, row.display_name):
            work.step("judge", lambda: self._judge(work, row, header))
        work.use(partition_name(work.project))  # no chunk of the project is collected until this work ends
        with storage_faults(row.name, row.display_name):
            content = work.step("write", lambda: self._write(work, row, header), content_pb2.Content)
            report = work.step("inspect", lambda: self._inspect(work, row, content), image_pb2.Image)
            # Before the publication: after it the owner may delete the image, and with it the file's name.
            work.step("clean", lambda: self._staging.remove(row.upload_key))
        work.transact("publish", lambda tx: self._publish(tx, row.name, content, report), decides=True)

    def undo(self, work: Work, error: Refusal) -> None:
        """Removes the index and the file, and leaves the image in ERROR. Its chunks await collection."""
        if work.done("publish") or work.done("undo:mark"):  # after the mark its id may be a new image's
            return
        with self._database.read() as session:
            row = images.load(session, work.target)
        try:
            with self._chunks.open(work.project, work.target) as store:
                store.delete_index(work.id)
            with storage_faults(row.name, row.display_name):
                self._staging.remove(row.upload_key)
        except StoreIoFailed:
            # After the last try a collection deletes the index, and the image's deletion the file.
            if not work.is_last_try:
                raise
        work.transact("undo:mark", lambda tx: self._fail(tx, row.name, error))

    def _judge(self, work: Work, row: ImageRow, header: image_service_pb2.ImportImageHeader) -> None:
        path = self._staging.path(row.upload_key)
        if header.sha256 and self._staging.sha256(row.upload_key, work.check) != header.sha256:
            raise UploadMismatch(problem="its SHA-256 differs")
        image = inspect_image(
            path, _format(header), self._max_virtual_bytes, work.check, max_expansion=self._max_expansion
        )
        # The store's compression and its shared chunks may save some of it, but nobody knows how much.
        stored = {} if self._chunks.folder is None else {self._chunks.folder: image.data_bytes}
        self._space.check({self._staging.folder: image.scratch_bytes, **stored})

    def _write(
        self, work: Work, row: ImageRow, header: image_service_pb2.ImportImageHeader
    ) -> content_pb2.Content:
        def report(done: int, total: int) -> None:
            work.progress(
                [operation_metadata_pb2.DiskProgress(disk=row.name, done_bytes=done, total_bytes=total)]
            )

        path = self._staging.path(row.upload_key)
        with (
            self._chunks.open(work.project, work.target) as store,
            open_imported(path, _format(header), self._staging.scratch(row.upload_key), work.check) as source,
        ):
            written = store.write_disk(source, work.id, progress=report, resumed_after=(Interrupted,))
        return self._content_from_written(work.project, row, written)

    def _content_from_written(self, project: str, row: ImageRow, written: WrittenDisk) -> content_pb2.Content:
        is_data = row.kind == ImageKind.DATA_DISK
        location = self._chunks.location(project)
        content = content_pb2.Content(store=content_pb2.ContentStore(url=location.url, project=project))
        content.disks.add(
            id="data-1" if is_data else "system",
            role=content_pb2.DISK_ROLE_DATA if is_data else content_pb2.DISK_ROLE_SYSTEM,
            position=1 if is_data else 0,
            display_name=row.display_name,
            size_bytes=written.size_bytes,
            index=content_pb2.IndexRef(id=written.ref.id, digest=written.ref.digest),
        )
        return content

    def _inspect(self, work: Work, row: ImageRow, content: content_pb2.Content) -> image_pb2.Image:
        """R67: judges a system disk like a source, and only records the findings; refuses content of another
        kind.
        """
        index = content.disks[0].index
        # From the store: a compressed file is not decompressed once more.
        with self._chunks.open(work.project, work.target) as store:
            ref = IndexRef(index.id, index.digest, content.disks[0].size_bytes)
            source = store.reader(store.read_index(ref))
            report = self._inspector.inspect(source)
        kind = ImageKind(row.kind)
        decide_content(row.display_name, kind, content_from_report(report))
        return image_from_report(report, kind)

    def _publish(
        self, tx: Transaction, name: str, content: content_pb2.Content, report: image_pb2.Image
    ) -> None:
        row = images.load(tx.session, name, lock=True)
        register_content(row, content, report)
        row.content = content.SerializeToString()
        row.finish_time = self._now()
        images.move(tx, row, ImageEvent.PUBLISHED, self._now())

    def _fail(self, tx: Transaction, name: str, error: Refusal) -> None:
        row = images.load(tx.session, name, lock=True)
        row.error = status_from_refusal(error, DOMAIN).SerializeToString()
        images.move(tx, row, ImageEvent.FAILED, self._now())


def _format(header: image_service_pb2.ImportImageHeader) -> ImageFormat:
    return "qcow2" if header.disk_format == image_pb2.DISK_FORMAT_QCOW2 else "raw"
