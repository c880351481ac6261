"""Ordered faults of input and output, and records of it: the control of `shim/faulty_io.c`, which all
services and the programs that they start load.
"""

import errno
import fcntl
import mmap
import os
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Self

_SOURCE = Path(__file__).parent / "shim" / "faulty_io.c"


class Class(IntEnum):
    """Kinds of operations, counted apart."""

    READ = 0
    WRITE = 1
    SYNC = 2
    RENAME = 3
    LINK = 4
    UNLINK = 5
    MAKE = 6


class Mode(IntFlag):
    """The shim's behaviour."""

    FAULTS = 1
    RECORDS = 2
    LOSES = 4


class Kind(IntEnum):
    """The kind of a record."""

    MADE_FILE = 1
    MADE_FOLDER = 2
    WROTE = 3
    SIZED = 4
    ZEROED = 5
    SYNCED = 6
    SYNCED_ALL = 7
    RENAMED = 8
    LINKED = 9
    UNLINKED = 10
    MODED = 11
    MARK = 12  # the harness's own


SHORT = 0  # the fault of a write that writes half
FOR_EVER = (1 << 64) - 1


@dataclass(frozen=True)
class Fault:
    """The operations of a class, from the `first` to the `last`, fail with `error`."""

    of: Class
    first: int
    error: int
    last: int = 0  # the first alone

    def __str__(self) -> str:
        name = "a short write" if self.error == SHORT else errno.errorcode[self.error]
        return f"{self.of.name.lower()} #{self.first}{' and all after it' if self.last else ''}: {name}"


@dataclass(frozen=True)
class Record:
    """One operation, as it was done. `error` is 0 unless it failed; sizes and offsets are bytes."""

    kind: Kind
    error: int
    mode: int
    inode: int
    offset: int
    length: int
    path: str
    target: str
    data: bytes
    bytes: int
    """Of the record itself."""


class FaultyIo:
    """The shim, compiled, and its control. `environment` makes a process load it."""

    # struct control: mode, class, first, last, fault, hits, waiting, counted[7]; then
    # the shim's own record of
    # failed syncs; where[512]
    _COUNTS = 7
    _CONTROL = struct.Struct(f"<4Qq2Q{len(Class)}Q{(2 + 2 * 16) * 8}x512s")
    _RECORD = struct.Struct("<IIiIQQQII")

    def __init__(self, folder: Path, watched: Sequence[Path]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        library = folder / "faulty_io.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, _SOURCE], check=True)
        self.log = folder / "log"
        self.log.touch()
        control = folder / "control"
        control.write_bytes(bytes(self._CONTROL.size))
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), self._CONTROL.size)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAULTY_IO_CONTROL": str(control),
            "FAULTY_IO_FOLDERS": ":".join(str(path.resolve()) for path in watched),
            "FAULTY_IO_LOG": str(self.log),
        }

    def arm(self, fault: Fault, mode: Mode = Mode.FAULTS) -> None:
        """Orders a fault; the operations of its class are counted from now."""
        last = max(fault.first, fault.last)
        self._set(0, 0)
        self._map[self._CONTROL.size - 512 :] = bytes(512)
        fields = (fault.of, fault.first, last, fault.error, 0, 0, *[0] * len(Class))
        for number, value in enumerate(fields, 1):
            self._set(number, value)
        self._set(0, mode)  # last of all

    def count(self) -> None:
        """Counts from now, and lets nothing fail."""
        self.arm(Fault(Class.READ, FOR_EVER, errno.EIO))

    def record(self) -> None:
        """Writes down, from now, and lets nothing fail."""
        self._set(0, Mode.RECORDS)

    def disarm(self) -> None:
        """Lets everything pass again. The counts can still be read."""
        self._set(0, 0)

    @property
    def counted(self) -> dict[Class, int]:
        """The number of operations of each class since the count began."""
        return dict(zip(Class, self._read()[self._COUNTS : self._COUNTS + len(Class)], strict=True))

    @property
    def hits(self) -> int:
        """The number of operations that failed."""
        return int(self._read()[5])

    @property
    def where(self) -> str:
        """The call and the path that failed first."""
        return bytes(self._read()[-1]).partition(b"\0")[0].decode()

    @property
    def is_losing(self) -> bool:
        """Whether a sync failed, and waits until its unsynced bytes are lost. `let_go` ends the wait."""
        return bool(self._read()[6])

    def let_go(self) -> None:
        """The unsynced bytes are lost: the failed sync returns."""
        self._set(6, 0)

    def mark(self, text: str) -> None:
        """Writes a record of the harness's own between those of the services."""
        path = text.encode()
        head = self._RECORD.pack(self._RECORD.size + len(path), Kind.MARK, 0, 0, 0, 0, 0, len(path), 0)
        with self.log.open("ab", buffering=0) as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            log.write(head + path)

    def records(self, start: int = 0) -> Iterator[Record]:
        """All records so far, or those after so many bytes of the log."""
        with self.log.open("rb") as log:
            log.seek(start)
            while head := log.read(self._RECORD.size):
                size, kind, error, mode, inode, offset, length, path, target = self._RECORD.unpack(head)
                rest = log.read(size - self._RECORD.size)
                data = rest[path + target :]
                names = rest[:path].decode(), rest[path : path + target].decode()
                yield Record(Kind(kind), error, mode, inode, offset, length, *names, data, size)

    def close(self) -> None:
        """Gives up the control."""
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> tuple[int, ...]:
        return self._CONTROL.unpack(self._map[:])

    def _set(self, field: int, value: int) -> None:
        struct.pack_into("<Q", self._map, field * 8, value)


def inodes_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file and folder below, with the folder itself, as it is now."""
    yield folder, folder.lstat()
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            yield path, path.lstat()
