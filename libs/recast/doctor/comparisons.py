"""Compares the bytes of bases and disks with their contents: the part of `--deep` about disks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from recast.chunkstore import ChunkStoreError, DiskSource
from recast.diskimage import DiskBusy, DiskImageError, DiskReader
from recast.diskimage.reader import open_chain, open_raw
from recast.doctor.contents import OpenStore, Sealed
from recast.doctor.disk_checks import FoundDisk
from recast.doctor.findings import Code, Findings

_WINDOW_BYTES = 1 << 20


def compare_bases(
    bases: Mapping[str, Path], contents: Mapping[str, tuple[OpenStore, Sealed]], findings: Findings
) -> None:
    """A base equals its content, byte for byte. A base without a known content cannot be compared."""
    for name, path in bases.items():
        if name in contents:
            store, sealed = contents[name]
            differs = _difference(lambda path=path: open_raw(path, path.stat().st_size), store, sealed)  # type: ignore[misc]
            if differs:
                what = f"it is to be disk {sealed.disk.id} of {sealed.owner}, and {differs}"
                findings.add(Code.BASE_CONTENT_WRONG, str(path), what)


def compare_tracked(
    disks: list[FoundDisk], store: OpenStore, of_backups: list[Sealed], findings: Findings
) -> None:
    """The data beneath a disk's active layer equals that disk of the backup that its row names."""
    contents = {(sealed.owner, sealed.disk.source_disk): sealed for sealed in of_backups}
    for disk in disks:
        sealed = contents.get((disk.row.tracked_backup, disk.row.name))
        if sealed is None or disk.work or disk.freeze or not disk.chain.freeze_ids:
            continue
        differs = _difference(lambda disk=disk: _beneath(disk), store, sealed)  # type: ignore[misc]
        if differs:
            what = f"its changes are known since {sealed.owner}, but beneath its active layer {differs}"
            findings.add(Code.TRACKED_CONTENT_WRONG, disk.row.name, what)


def _beneath(disk: FoundDisk) -> DiskReader:
    reader = open_chain(disk.chain.files()[1:])
    if reader is None:
        raise DiskImageError("a layer holds compressed clusters, which no disk of ours does")
    return reader


def _difference(open_disk: Callable[[], DiskReader], store: OpenStore, sealed: Sealed) -> str:
    """The difference of a disk and a content, as text; empty when equal, or not comparable now."""
    try:
        content = store.reader(sealed)
        with closing(open_disk()) as disk:
            if disk.size_bytes != content.size_bytes:
                return f"it has {disk.size_bytes} bytes, not {content.size_bytes}"
            offset = first_difference(disk, content)
    except (ChunkStoreError, FileNotFoundError, DiskBusy):
        return ""  # damaged content is reported elsewhere; a moved file is checked the next time
    except (DiskImageError, OSError) as problem:
        return f"it cannot be read: {problem}"
    return "" if offset is None else f"it differs within the MiB at byte {offset}"


def first_difference(one: DiskSource, other: DiskSource, window_bytes: int = _WINDOW_BYTES) -> int | None:
    """The offset of the first window in which two disks of one size differ; None when they are equal."""
    for start in sorted({*_windows(one, window_bytes), *_windows(other, window_bytes)}):
        length = min(window_bytes, one.size_bytes - start)
        if one.pread(start, length) != other.pread(start, length):
            return start
    return None


def _windows(disk: DiskSource, window_bytes: int) -> Iterator[int]:
    """The offsets of the windows that may hold data."""
    for offset, length in disk.data_extents():
        yield from range(offset - offset % window_bytes, offset + length, window_bytes)
