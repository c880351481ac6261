"""One stream of ImportImage: its changes of the database and of the staged file."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from ims.domain.image import ImageState, check_disclaimer, check_texts, importable_kind
from ims.domain.refusals import ImageBusy, TooManyUploads, UploadIncomplete
from ims.domain.upload import new_bytes
from ims.storage import images
from ims.storage.chunks import storage_faults
from ims.storage.space import Space
from ims.storage.staging import StagedFile, Staging
from ims.storage.tables import ImageRow
from recast.database import Database
from recast.faults import RequestIdReused
from recast.ims.v1 import image_pb2
from recast.ims.v1 import image_service_pb2 as pb
from recast.operations import Operations
from recast.resources import commit_change, find_replay

_MAX_UPLOADS = 4


class UploadLimit:
    """Counts the uploads of each project that this process receives. Used by the event loop alone."""

    def __init__(self, limit: int = _MAX_UPLOADS) -> None:
        self._limit = limit
        self._running: Counter[str] = Counter()

    @contextmanager
    def running(self, project: str) -> Iterator[None]:
        """Counts the upload while in the block; TooManyUploads when the project is at the limit."""
        if self._running[project] >= self._limit:
            raise TooManyUploads(project=f"projects/{project}", limit=self._limit)
        self._running[project] += 1
        try:
            yield
        finally:
            self._running[project] -= 1
            if not self._running[project]:
                del self._running[project]


class Upload:
    """An upload, or the continuation of one: `begin`, `receive` each chunk, `finish`; and `close`, always.

    Each runs in a thread, one after the other. Only `close` may be called while another one runs, when its
    stream was cancelled: the lock makes it wait.
    """

    def __init__(
        self,
        database: Database,
        operations: Operations,
        staging: Staging,
        space: Space,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        header: pb.ImportImageHeader,
    ) -> None:
        self._database = database
        self._operations = operations
        self._staging = staging
        self._space = space
        self._now = now
        self._new_id = new_id
        self._header = header
        self._row: ImageRow | None = None
        self._file: StagedFile | None = None
        self._lock = threading.Lock()

    def begin(self, project: str) -> pb.ImportImageResponse | None:
        """Finds or records the image and opens its file; gives an answer when no bytes are needed."""
        with self._lock:
            check_disclaimer(self._header.disclaimer_accepted, self._header.disclaimer_version)
            check_texts(self._header.image.display_name, self._header.image.description)
            name, answer = self._find_or_record(project)
            if answer:
                return answer
            with self._database.read() as session:
                row = self._row = images.load(session, name)
            with storage_faults(name, self._header.image.display_name):
                self._file = self._staging.open(row.upload_key)
            if self._file is None:
                raise ImageBusy(image=name, state="being uploaded by another stream")
            return None

    def receive(self, chunk: pb.ImportImageChunk) -> None:
        """Appends the new bytes of a chunk; bytes that were received before are ignored."""
        with self._lock:
            row, file = self._opened()
            new = new_bytes(file.size_bytes, self._header.size_bytes, chunk.offset, len(chunk.data))
            with storage_faults(row.name, row.display_name):
                file.append(memoryview(chunk.data)[new])

    def finish(self) -> pb.ImportImageResponse:
        """Makes the file durable and records the work that makes an image of it."""
        with self._lock:
            row, file = self._opened()
            with storage_faults(row.name, row.display_name):
                file.make_durable()
            if file.size_bytes < self._header.size_bytes:
                raise UploadIncomplete(
                    image=row.name, received_bytes=file.size_bytes, size_bytes=self._header.size_bytes
                )
            return self._record_work(row.name)

    def close(self) -> None:
        """Closes the file, and removes it when its image was deleted meanwhile."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
            if self._row is None:
                return
            with self._database.read() as session:
                row = session.get(ImageRow, self._row.name)
            if row is None or row.upload_key != self._row.upload_key or row.state != ImageState.CREATING:
                self._staging.remove(self._row.upload_key)

    def _opened(self) -> tuple[ImageRow, StagedFile]:
        assert self._row is not None
        assert self._file is not None
        return self._row, self._file

    def _find_or_record(self, project: str) -> tuple[str, pb.ImportImageResponse | None]:
        """The name of the image that the header begins or continues; with an answer when no bytes are
        needed.
        """
        header = self._header
        is_raw = header.disk_format == image_pb2.DISK_FORMAT_RAW
        kind = importable_kind(_kind_name(header.image.kind), is_raw)
        body = header.SerializeToString(deterministic=True)
        with self._database.write() as tx:
            if answer := find_replay(tx.session, project, header, pb.ImportImageResponse):
                return answer.image.name, answer  # also when the image was deleted since
            if found := images.find_upload(tx.session, project, header.request_id):
                if found.upload_header != body:
                    raise RequestIdReused(request_id=header.request_id)
                return found.name, None
            if not is_raw:  # of a raw file the zeros take no space, and nobody knows yet how many there are
                self._space.check({self._staging.folder: header.size_bytes})
            row = images.new_row(project, header.image_id or self._new_id(), header.image, kind, self._now())
            row.upload_key, row.upload_request_id, row.upload_header = self._new_id(), header.request_id, body
            images.add(tx, row)
            if header.validate_only:  # without a commit
                return row.name, pb.ImportImageResponse(image=images.message_from_row(row))
            tx.commit()
        return row.name, None

    def _record_work(self, name: str) -> pb.ImportImageResponse:
        with self._database.write() as tx:
            row = images.load(tx.session, name, lock=True)
            if answer := find_replay(tx.session, row.project, self._header, pb.ImportImageResponse):
                return answer
            if row.state != ImageState.CREATING:
                raise ImageBusy(image=name, state=row.state)
            row.upload_is_complete = True
            images.update(tx, row, self._now())
            operation = self._operations.record(
                tx,
                project=row.project,
                verb="ImportImage",
                target=name,
                request=pb.GetImageRequest(name=name),
            )
            image = images.message_from_row(row, self._staging.size_bytes(row.upload_key))
            response = pb.ImportImageResponse(image=image, operation=operation)
            return commit_change(tx, row.project, self._header, response, self._now())


def _kind_name(kind: int) -> str:
    try:
        return image_pb2.ImageKind.Name(kind).removeprefix("IMAGE_KIND_")  # type: ignore[arg-type]
    except ValueError:  # proto3 lets numbers through that the enum does not have
        return str(kind)
