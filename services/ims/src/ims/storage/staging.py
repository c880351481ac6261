"""Uploads as files: one file for each upload, as long as the received bytes."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

_SCRATCH = ".scratch"
_PIECE_BYTES = 1 << 20
_ZEROS = memoryview(bytes(_PIECE_BYTES))


def is_zeros(data: bytes | memoryview) -> bool:
    """Whether a piece of an upload takes no space: it becomes a hole."""
    return data == _ZEROS[: len(data)]


class StagedFile:
    """One file that is being uploaded."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        self.size_bytes = os.fstat(fd).st_size

    def append(self, data: bytes | memoryview) -> None:
        """Writes at the end.

        Zeros become a hole: most of a raw disk is zeros, and need not reach the storage.
        """
        if is_zeros(data):
            self.size_bytes += len(data)
            os.ftruncate(self._fd, self.size_bytes)
            return
        while data:
            written = os.pwrite(self._fd, data, self.size_bytes)
            self.size_bytes += written
            data = memoryview(data)[written:]

    def drop(self) -> None:
        """Drops the bytes: the upload begins anew."""
        os.ftruncate(self._fd, 0)
        self.size_bytes = 0

    def make_durable(self) -> None:
        """fsync of the file: after this the row may say that the upload is complete."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Lets other streams write the file."""
        os.close(self._fd)


class Staging:
    """The folder of uploads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """The path of an upload's file."""
        return self.folder / key

    def size_bytes(self, key: str) -> int:
        """The received bytes; 0 when there is no file."""
        try:
            return self.path(key).stat().st_size if key else 0
        except FileNotFoundError:
            return 0

    def open(self, key: str) -> StagedFile | None:
        """The file, for this caller alone until it is closed; None when another stream is writing it."""
        fd = os.open(self.path(key), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # One stream a file: two that append would mix their bytes. The lock goes with the descriptor.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return StagedFile(self.path(key), fd)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise

    def keys_before(self, moment: datetime) -> list[str]:
        """The keys of the files that were last written before `moment`."""
        found = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # removed just now
                if path.stat().st_mtime < moment.timestamp():
                    found.append(path.name.removesuffix(_SCRATCH))
        return found

    def sha256(self, key: str, check: Callable[[], None]) -> bytes:
        """The digest of the file; `check` is called after every 1 MiB and may raise."""
        digest = hashlib.sha256()
        with self.path(key).open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
                check()
        return digest.digest()

    def scratch(self, key: str) -> Path:
        """An empty folder for what is made of the file, removed with it.

        What a killed process left there is removed: it may have the size of the disk.
        """
        path = self.folder / f"{key}{_SCRATCH}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def remove(self, key: str) -> None:
        """Removes the file and its scratch folder, if they are there."""
        if not key:
            return
        for path in (self.folder / f"{key}{_SCRATCH}", self.path(key)):
            if path.is_dir():  # without a key's name: an earlier version's
                shutil.rmtree(path, ignore_errors=True)  # another process may be removing the same
            else:
                path.unlink(missing_ok=True)
