"""The state after a power cut: files and folders as they are now, and their durable parts.

An fsync of a file makes its bytes and size durable, and no name; one of a folder makes the names in it
durable; syncfs makes all durable. That is the least that Linux promises: file systems may preserve more, in
no order. A `Disk` is fed with records in their order, and gives the possible states after a power cut at that
point, in several ways.
"""

import hashlib
import itertools
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.faults.storage.faulty_io import Kind, Record

# SQLite makes it anew from its log; it is memory that processes share, and never written.
_SHARED_MEMORY = "-shm"
_SECTOR_BYTES = 512


class Loss(StrEnum):
    """The loss of unsynced writes in a power cut."""

    ALL = "names and bytes are gone"
    BYTES = "names are there, bytes are gone"
    ZEROS = "names and sizes are there, bytes are zeros"
    LATE = "names are there, the first half of the bytes"
    EARLY = "names are there, the last half of the bytes"
    NAMES = "bytes are there, names are gone"


Change = tuple[int, bytes | None, int]
"""An offset and bytes; or None, and a size."""


@dataclass(eq=False)
class File:
    """A file. `durable` is its durable content; `changes` came later. The bytes are in
    `source` until a change.
    """

    mode: int
    source: Path | None = None
    durable: bytes = b""
    now: bytearray = field(default_factory=bytearray)
    changes: list[Change] = field(default_factory=list)
    syncs: int = 0
    number: int = field(default_factory=itertools.count().__next__)

    def change(self, offset: int, data: bytes | None, size: int = 0) -> None:
        """Writes bytes, or sets the size."""
        if self.source is not None:
            self.durable = self.source.read_bytes()
            self.now = bytearray(self.durable)
            self.source = None
        self.changes.append((offset, data, size))
        _apply(self.now, offset, data, size)

    def sync(self) -> None:
        """Makes all bytes durable."""
        if self.changes:
            self.durable = bytes(self.now)
            self.changes.clear()
            self.syncs += 1

    def lose(self) -> None:
        """Forgets all that is not durable: bytes that a failed sync lost are zeros, or the earlier bytes."""
        self.durable = self.content(Loss.ZEROS)
        self.now = bytearray(self.durable)
        self.changes.clear()
        self.syncs += 1

    def after(self, loss: Loss) -> tuple[object, ...]:
        """A token that distinguishes the remaining content from any other of this file."""
        if not self.changes or loss in {Loss.ALL, Loss.BYTES}:
            return (self.number, self.syncs)
        return (self.number, self.syncs, len(self.changes), loss)

    def content(self, loss: Loss) -> bytes:
        """The remaining bytes."""
        if not self.changes or loss in {Loss.ALL, Loss.BYTES}:
            return self.durable
        if loss is Loss.NAMES:
            return bytes(self.now)
        if loss is Loss.ZEROS:
            return self.durable[: len(self.now)].ljust(len(self.now), b"\0")
        left = bytearray(self.durable)
        for offset, data, size in _half(self.changes, is_first=loss is Loss.LATE):
            _apply(left, offset, data, size)
        return bytes(left)


@dataclass(eq=False)
class Folder:
    """A folder: its names now, and those that are durable."""

    now: dict[str, "File | Folder"] = field(default_factory=dict)
    durable: dict[str, "File | Folder"] = field(default_factory=dict)

    def sync(self) -> None:
        """Makes its names durable."""
        self.durable = dict(self.now)


Left = Mapping[str, tuple[object, ...]]
"""The remaining content, by path: a token that distinguishes it from another. A folder is ()."""


class Disk:
    """Folders below `root`, of which `before` is a copy."""

    def __init__(self, root: Path, before: Path, there: Iterable[tuple[Path, os.stat_result]]) -> None:
        """`there` is the result of `inodes_below` for `root` when the copy was made."""
        self._root = root
        self._inodes: dict[int, File | Folder] = {}
        self._top = Folder()
        for path, status in there:
            inside = path.relative_to(root)
            is_folder = stat.S_ISDIR(status.st_mode)
            source = (
                None if path.name.endswith(_SHARED_MEMORY) else before / inside
            )  # of which there is no copy
            node = Folder() if is_folder else File(status.st_mode & 0o7777, source)
            node = self._inodes.setdefault(status.st_ino, node)
            folder = self._folder(inside.parent)
            folder.now[inside.name] = node
            folder.sync()
        self._top.sync()

    def feed(self, record: Record) -> None:
        """Applies a record to the model."""
        path, name = self._place(record.path)
        if record.kind is Kind.MADE_FILE:
            path.now[name] = self._inodes[record.inode] = File(record.mode)
        elif record.kind is Kind.MADE_FOLDER:
            path.now[name] = self._inodes[record.inode] = Folder()
        elif record.kind is Kind.RENAMED:
            self._link(record.target, path.now.pop(name))
        elif record.kind is Kind.LINKED:
            self._link(record.target, path.now[name])
        elif record.kind is Kind.UNLINKED:
            del path.now[name]
        elif record.kind is Kind.SYNCED_ALL and not record.error:
            for node in (self._top, *self._inodes.values()):
                node.sync()
        elif record.kind is Kind.SYNCED and not record.error:
            self._inodes[record.inode].sync()
        elif record.kind in {Kind.WROTE, Kind.SIZED, Kind.ZEROED, Kind.MODED}:
            self._change(self._file(record.inode), record)

    def lose(self, sync: Record) -> Iterator[tuple[str, bytes]]:
        """Removes from the files the bytes of a failed sync; gives their new content."""
        files = {
            path: self._file_at(path)
            for path, token in self._walk(self._top, "", Loss.NAMES, names_now=True)
            if token
        }
        synced = self._inodes.get(sync.inode)
        for path, node in files.items():
            if node.changes and (sync.kind is Kind.SYNCED_ALL or node is synced):
                node.lose()
                yield path, node.durable

    def left(self, loss: Loss) -> Left:
        """The state after a power cut now."""
        return dict(self._walk(self._top, "", loss))

    def write(self, path: str, loss: Loss, target: Path) -> None:
        """Writes a file that is left."""
        node: File | Folder = self._top
        for name in path.split("/"):
            assert isinstance(node, Folder)
            node = _names(node, loss)[name]
        assert isinstance(node, File)
        if node.source is not None and not target.name.endswith((".db", "-wal")):
            os.link(node.source, target)  # it is not written to
            return
        target.write_bytes(node.source.read_bytes() if node.source is not None else node.content(loss))
        target.chmod(node.mode)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Every file as it is now."""
        for path, token in self._walk(self._top, "", Loss.NAMES, names_now=True):
            if token:
                node = self._file_at(path)
                yield path, node.source.read_bytes() if node.source else bytes(node.now)

    def _file_at(self, path: str) -> File:
        folder, name = self._folder(Path(path).parent), Path(path).name
        node = folder.now[name]
        assert isinstance(node, File)
        return node

    def _walk(
        self, folder: Folder, path: str, loss: Loss, *, names_now: bool = False
    ) -> Iterator[tuple[str, tuple[object, ...]]]:
        for name, node in (folder.now if names_now else _names(folder, loss)).items():
            if isinstance(node, Folder):
                yield f"{path}{name}", ()
                yield from self._walk(node, f"{path}{name}/", loss, names_now=names_now)
            elif not name.endswith(_SHARED_MEMORY):
                yield f"{path}{name}", node.after(loss)

    def _change(self, node: File, record: Record) -> None:
        if record.kind is Kind.WROTE:
            node.change(record.offset, record.data)
        elif record.kind is Kind.SIZED:
            node.change(0, None, record.length)
        elif record.kind is Kind.ZEROED:
            node.change(record.offset, bytes(record.length))
        else:
            node.mode = record.mode & 0o7777  # durable at once: no content depends on it

    def _file(self, inode: int) -> File:
        node = self._inodes[inode]
        assert isinstance(node, File)
        return node

    def _place(self, path: str) -> tuple[Folder, str]:
        if not path.startswith(f"{self._root}/"):
            return self._top, ""  # of a mark, or of a file that has no name any more
        inside = Path(path).relative_to(self._root)
        return self._folder(inside.parent, is_lenient=True), inside.name

    def _link(self, path: str, node: "File | Folder") -> None:
        folder, name = self._place(path)
        folder.now[name] = node

    def _folder(self, inside: Path, *, is_lenient: bool = False) -> Folder:
        node: File | Folder = self._top
        for name in inside.parts:
            assert isinstance(node, Folder)
            if name not in node.now:
                if is_lenient:
                    return Folder()  # of a file that has no name any more: its records go by its inode
                node.now[name] = Folder()
                node.sync()  # above the watched folders: it was there before
            node = node.now[name]
        assert isinstance(node, Folder)
        return node


class Rebuilt:
    """A folder in which one state after another is built; only what differs is written."""

    def __init__(self, root: Path, keys: Path) -> None:
        self.root = root
        self._there: dict[str, tuple[object, ...]] = {}
        root.mkdir()
        shutil.copytree(keys, root / keys.name)

    def build(self, disk: Disk, loss: Loss, left: Left) -> None:
        """Makes the folder the state of the disk after a power cut."""
        for path in sorted(self._there, reverse=True):  # the content of a folder before the folder
            is_database = path.endswith((".db", "-wal"))  # its readers write, too
            if self._there[path] != left.get(path) or is_database:
                target = self.root / path
                target.unlink() if self._there.pop(path) else target.rmdir()
        for leftover in (self.root / "data").glob(f"*{_SHARED_MEMORY}"):
            leftover.unlink()
        for path in sorted(left.keys() - self._there.keys()):
            target = self.root / path
            if left[path]:
                disk.write(path, loss, target)
            else:
                target.mkdir()
            self._there[path] = left[path]


def digest(left: Left) -> bytes:
    """Distinguishes a state from others of the same disk."""
    return hashlib.blake2b(repr(sorted(left.items())).encode()).digest()


def _half(changes: list[Change], *, is_first: bool) -> Iterator[Change]:
    """The first or the last half; of a single write, its first or last sectors."""
    middle = len(changes) // 2
    if len(changes) > 1:
        yield from changes[:middle] if is_first else changes[middle:]
    elif data := changes[0][1]:
        offset = changes[0][0]
        # A sector is written whole or not at all: that much every format relies on.
        cut = max(0, (offset + len(data) // 2) // _SECTOR_BYTES * _SECTOR_BYTES - offset)
        yield (offset, data[:cut], 0) if is_first else (offset + cut, data[cut:], 0)


def _names(folder: Folder, loss: Loss) -> dict[str, "File | Folder"]:
    return folder.durable if loss in {Loss.ALL, Loss.NAMES} else folder.now


def _apply(content: bytearray, offset: int, data: bytes | None, size: int) -> None:
    if data is None:
        if size < len(content):
            del content[size:]
        else:
            content.extend(bytes(size - len(content)))
        return
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data
