"""The expiry of unfinished uploads: the image and its bytes are deleted after a day without new bytes."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from ims.domain.image import ImageEvent, ImageState
from ims.domain.refusals import ImageNotFound
from ims.storage import images
from ims.storage.staging import Staging
from recast.database import Database
from recast.ims.v1 import image_service_pb2 as pb
from recast.operations import Operations

log = structlog.get_logger()
_AGE = timedelta(days=1)


class ExpireUploads:
    """Recurring work; several processes may run it at once."""

    def __init__(
        self, database: Database, operations: Operations, staging: Staging, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._operations = operations
        self._staging = staging
        self._now = now

    def run(self) -> None:
        """Records the deletion of each image whose upload received nothing for a day, and removes the staged
        files that no image needs.
        """
        moment = self._now() - _AGE
        # Files before rows: a row is committed before its file is made, so an idle file that no row names now
        # will never be named.
        idle = set(self._staging.keys_before(moment))
        with self._database.read() as session:
            needed = images.upload_keys(session)
            unfinished = [(row.name, row.upload_key) for row in images.unfinished_uploads(session, moment)]
        for name, key in unfinished:
            if key in idle or not self._staging.path(key).exists():
                self._expire(name, key)
        for key in idle - needed:
            self._staging.remove(key)

    def _expire(self, name: str, key: str) -> None:
        file = self._staging.open(key)
        if file is None:  # a stream has just continued it
            return
        try:
            if self._delete(name, key):
                log.info("upload expired", image=name)
        finally:
            file.close()

    def _delete(self, name: str, key: str) -> bool:
        """Records DeleteImage, which removes the file and then the row. False when the image changed."""
        with self._database.write() as tx:
            try:
                row = images.load(tx.session, name, lock=True)
            except ImageNotFound:
                return False
            if row.upload_key != key or row.state != ImageState.CREATING or row.upload_is_complete:
                return False
            images.move(tx, row, ImageEvent.UPLOAD_ABANDONED, self._now())
            request = pb.DeleteImageRequest(name=name)
            self._operations.record(tx, project=row.project, verb="DeleteImage", target=name, request=request)
            tx.commit()
        return True
