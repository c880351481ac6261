"""Reading an image's bytes by pread on plain files."""

import errno
import fcntl
import os
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from recast.diskimage.errors import DiskImageError
from recast.diskimage.qemu_img import ImageFormat, Watch, map_image


class Extents:
    """The extents of data, ascending, in columns: a fragmented disk has millions. Numbers are bytes."""

    def __init__(self) -> None:
        self.starts = array("Q")
        self.lengths = array("Q")
        self.offsets = array("Q")
        self.files = array("B")

    def append(self, start: int, length: int, file: int, offset: int) -> None:
        """Add data after all earlier data; data that continues the last extent is joined to it."""
        if (
            self.starts
            and self.files[-1] == file
            and self.starts[-1] + self.lengths[-1] == start
            and self.offsets[-1] + self.lengths[-1] == offset
        ):
            self.lengths[-1] += length
            return
        self.starts.append(start)
        self.lengths.append(length)
        self.offsets.append(offset)
        self.files.append(file)

    def within(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield (start, end, file, offset) of the data between two positions, cut to them."""
        index = max(bisect_right(self.starts, start) - 1, 0)
        while index < len(self.starts) and self.starts[index] < end:
            first = max(start, self.starts[index])
            last = min(end, self.starts[index] + self.lengths[index])
            if first < last:
                yield first, last, self.files[index], self.offsets[index] + first - self.starts[index]
            index += 1


class DiskReader:
    """The content of a disk at the time of opening. A context manager; threads may share it."""

    def __init__(self, size_bytes: int, paths: Sequence[Path], extents: Extents) -> None:
        self.size_bytes = size_bytes
        self._extents = extents
        self._files: list[int] = []
        with ExitStack() as undo:
            undo.callback(self.close)
            for path in paths:
                self._files.append(os.open(path, os.O_RDONLY))
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; further reads fail. Not while another thread reads."""
        while self._files:
            os.close(self._files.pop())

    def hold(self, files: Iterable[int]) -> None:
        """Prevent merges into files, by number, until the reader is closed."""
        for number in files:
            # Never waits: the merge, its one competitor, needs the folder's lock, which the opener shares.
            fcntl.flock(self._files[number], fcntl.LOCK_SH)

    def data_extents(self) -> Iterator[tuple[int, int]]:
        """Yield (offset, length) in bytes of each range that may differ from zero, ascending, disjoint."""
        return joined(zip(self._extents.starts, self._extents.lengths, strict=True))

    def pread(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes; holes are zeros and cost no read. ValueError outside of the disk."""
        if not self._files:
            raise ValueError("the reader is closed")
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise ValueError(f"{length} bytes at {offset} are not within a disk of {self.size_bytes}")
        content = bytearray(length)
        view = memoryview(content)
        for start, end, file, file_offset in self._extents.within(offset, offset + length):
            self._fill(view[start - offset : end - offset], file, file_offset)
        return bytes(content)

    def _fill(self, target: memoryview, file: int, offset: int) -> None:
        done = 0
        while done < len(target):
            count = os.preadv(self._files[file], [target[done:]], offset + done)
            if count == 0:
                raise DiskImageError(
                    f"a file of the disk ends before {offset + len(target)}, where it holds data"
                )
            done += count


def joined(extents: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join ascending (offset, length) pairs that touch."""
    start = end = 0
    for offset, length in extents:
        if offset != end:
            if end > start:
                yield start, end - start
            start = offset
        end = offset + length
    if end > start:
        yield start, end - start


def open_chain(files: Sequence[tuple[Path, ImageFormat]], watch: Watch | None = None) -> DiskReader | None:
    """Open an image and the files beneath it, newest first. None when a part is stored compressed.

    `watch` is called periodically, and may raise.
    """
    path, image_format = files[0]
    extents = Extents()
    size_bytes = 0
    for entry in map_image(path, image_format, watch=watch):
        size_bytes = entry.start + entry.length
        if not entry.is_data or entry.is_zero:
            continue
        if entry.offset is None:
            return None
        extents.append(entry.start, entry.length, entry.depth, entry.offset)
    reader = DiskReader(size_bytes, [file for file, _ in files], extents)
    reader.hold([number for number, (_, file_format) in enumerate(files) if file_format == "qcow2"])
    return reader


def open_raw(path: Path, size_bytes: int) -> DiskReader:
    """Open a sparse raw file as a disk of `size_bytes`; the range beyond the file's end reads as zeros."""
    extents = Extents()
    fd = os.open(path, os.O_RDONLY)
    try:
        end = 0
        while (start := _next_data(fd, end)) is not None:
            end = os.lseek(fd, start, os.SEEK_HOLE)  # the end of the file counts as a hole
            extents.append(start, end - start, 0, start)
    finally:
        os.close(fd)
    return DiskReader(size_bytes, [path], extents)


def _next_data(fd: int, offset: int) -> int | None:
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole follows
            return None
        raise
