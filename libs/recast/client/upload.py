"""Uploads a file as an image, and resumes a broken upload."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from recast.faults import Kind, RemoteRefusal
from recast.ims.v1.image_service_pb2 import (
    GetImageRequest,
    ImportImageChunk,
    ImportImageHeader,
    ImportImageRequest,
    ImportImageResponse,
)

OnBytes = Callable[[int, int], None]

PIECE_BYTES = 1 << 20
# The time of one call; a longer upload continues in the next call.
_CALL_SECONDS = 600.0
# The most calls in a row without progress before the upload fails.
_FRUITLESS_CALLS = 6
_LONGEST_PAUSE_SECONDS = 4.0


class _Pieces:
    """The messages of one call: the header, then the file from `offset` on.

    gRPC consumes them in a thread of its own, which may briefly outlive the call: hence `pread`, which shares
    no file position with the next call, and `close`, after which no progress is reported.
    """

    def __init__(self, file: int, header: ImportImageHeader, offset: int, on_bytes: OnBytes | None) -> None:
        self._file = file
        self._header = header
        self._offset = offset
        self._on_bytes = on_bytes
        self._open = True
        self.problem: OSError | None = None

    def __iter__(self) -> Iterator[ImportImageRequest]:
        yield ImportImageRequest(header=self._header)
        offset, total = self._offset, self._header.size_bytes
        while self._open and offset < total and not self._header.validate_only:
            try:
                data = os.pread(self._file, min(PIECE_BYTES, total - offset), offset)
            except OSError as problem:  # gRPC's thread would lose it; `import_image` raises it
                self.problem = problem
                return
            if not data:
                self.problem = OSError(f"the file became shorter than {total} bytes while it was uploaded")
                return
            yield ImportImageRequest(chunk=ImportImageChunk(offset=offset, data=data))
            offset += len(data)
            if self._on_bytes and self._open:
                self._on_bytes(offset, total)

    def close(self) -> None:
        self._open = False


def import_image(
    stub: Any,
    path: Path,
    header: ImportImageHeader,
    on_bytes: OnBytes | None = None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> ImportImageResponse:
    """Uploads the file at `path` and returns the answer of ImportImage. `stub` is an ImageServiceStub.

    `header` has all fields but `size_bytes`; its `request_id` identifies the upload, so that the same call,
    even in another process, resumes it. `on_bytes(sent, total)` is called after each piece of 1 MiB. Raises
    the service's refusal, also after several calls without progress; OSError for an unreadable file.
    """
    with path.open("rb") as file:
        whole = ImportImageHeader()
        whole.CopyFrom(header)
        whole.size_bytes = os.fstat(file.fileno()).st_size
        offset, fruitless = 0, 0
        while True:
            pieces = _Pieces(file.fileno(), whole, offset, on_bytes)
            try:
                answer = stub.ImportImage(iter(pieces), timeout=_CALL_SECONDS)
            except RemoteRefusal as refusal:
                if pieces.problem:
                    raise pieces.problem from None
                if not _is_resumable(refusal):
                    raise
                reached = _resume_offset(stub, whole, refusal, offset)
                fruitless = 0 if reached > offset else fruitless + 1
                if fruitless == _FRUITLESS_CALLS:
                    raise
                offset = reached
            else:
                if pieces.problem:
                    raise pieces.problem
                return answer  # type: ignore[no-any-return]  # the stub may be any
            finally:
                pieces.close()
            if fruitless:
                sleep(min(0.25 * 2**fruitless, _LONGEST_PAUSE_SECONDS))


def _is_resumable(refusal: RemoteRefusal) -> bool:
    broken = refusal.kind in (Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED)
    return broken or refusal.reason in ("UPLOAD_INCOMPLETE", "UPLOAD_OUT_OF_ORDER")


def _resume_offset(stub: Any, header: ImportImageHeader, refusal: RemoteRefusal, offset: int) -> int:
    """The offset to resume at: from the refusal, else from the image, else where this call began.

    The last may be wrong; then the service answers UPLOAD_OUT_OF_ORDER with the offset.
    """
    if "received_bytes" in refusal.facts:
        return int(refusal.facts["received_bytes"])
    if not header.image_id:
        return offset
    try:
        name = f"{header.parent}/images/{header.image_id}"
        return int(stub.GetImage(GetImageRequest(name=name)).image.uploaded_bytes)
    except RemoteRefusal as unknown:
        if unknown.kind is Kind.NOT_FOUND:
            return 0
        if unknown.kind in (Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED):
            return offset
        raise
