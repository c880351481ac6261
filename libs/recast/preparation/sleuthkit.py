"""A FileTree over ext or NTFS, read by The Sleuth Kit (pytsk3).

The Sleuth Kit does not bound its work on hostile input: six blocks of extent tree, in which each entry names
the next block, make it walk 340 to the sixth extents. So it runs under limits of the kernel: isolation.py.
"""

from __future__ import annotations

import struct
from itertools import islice
from typing import Any, Final

import pytsk3

from recast.preparation.content import ContentReader, NotRegularError, TooLargeError, UnreadableError
from recast.preparation.filetree import MAX_FILE_BYTES, MAX_NAMES, follow_links
from recast.preparation.report import printable

_TYPES: Final = {
    "ext2": pytsk3.TSK_FS_TYPE_EXT_DETECT,
    "ext3": pytsk3.TSK_FS_TYPE_EXT_DETECT,
    "ext4": pytsk3.TSK_FS_TYPE_EXT_DETECT,
    "ntfs": pytsk3.TSK_FS_TYPE_NTFS,
}
READABLE_TYPES: Final = frozenset(_TYPES)
_KINDS: Final = frozenset(
    {
        pytsk3.TSK_FS_META_TYPE_REG,
        pytsk3.TSK_FS_META_TYPE_DIR,
        pytsk3.TSK_FS_META_TYPE_LNK,
        pytsk3.TSK_FS_META_TYPE_CHR,
        pytsk3.TSK_FS_META_TYPE_BLK,
        pytsk3.TSK_FS_META_TYPE_FIFO,
        pytsk3.TSK_FS_META_TYPE_SOCK,
    }
)
_MAX_LINK_BYTES: Final = 4096
_NOT_NAMES: Final = (b".", b"..", b"$OrphanFiles")  # the last is The Sleuth Kit's own invention


class ReaderImage(pytsk3.Img_Info):  # type: ignore[misc]  # pytsk3 ships no types
    """The Sleuth Kit's view of a ContentReader. One image belongs to one inspection, and so to one thread."""

    def __init__(self, reader: ContentReader) -> None:
        self._reader = reader
        self.failure: Exception | None = None
        super().__init__(url="", type=pytsk3.TSK_IMG_TYPE_EXTERNAL)

    def close(self) -> None:
        """Do nothing: the reader is the caller's."""

    def get_size(self) -> int:
        """Return the disk's size in bytes."""
        return self._reader.size_bytes

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes, and save the reader's error: The Sleuth Kit would replace it by its own."""
        if self.failure is not None:
            return b""
        try:
            return self._reader.pread(offset, length)
        except Exception as failure:
            self.failure = failure
            raise


class SleuthKitTree:
    """The files of one file system. Lookups are by exact path; nothing is walked."""

    def __init__(self, image: ReaderImage, offset: int, fs_type: str) -> None:
        """Open the file system of `fs_type` at `offset` bytes. Raises UnreadableError if it is damaged."""
        self._image = image
        self._is_ext = fs_type != "ntfs"
        self._seen: dict[str, Any] = {}
        self._whole: set[str] = set()
        self._fs = self._call(fs_type, pytsk3.FS_Info, image, offset=offset, type=_TYPES[fs_type])

    def exists(self, path: str) -> bool:
        """Return whether `path` leads to something."""
        return self._resolve(path) is not None

    def read(self, path: str) -> bytes | None:
        """Return a file's content, or None if nothing is there."""
        node = self._resolve(path)
        if node is None:
            return None
        if node.info.meta.type != pytsk3.TSK_FS_META_TYPE_REG:
            raise NotRegularError(f"{path} is not a regular file")
        return self._content(path, node, MAX_FILE_BYTES)

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory; none if it is not there or no directory."""
        node = self._resolve(path)
        if node is None or node.info.meta.type != pytsk3.TSK_FS_META_TYPE_DIR:
            return []
        self._check_directory(path)
        entries = self._call(path, lambda: list(islice(node.as_directory(), MAX_NAMES + 1)))
        if len(entries) > MAX_NAMES:
            raise UnreadableError(f"{path} has more than {MAX_NAMES} entries")
        allocated = (e.info.name.name for e in entries if e.info.name.flags == pytsk3.TSK_FS_NAME_FLAG_ALLOC)
        return sorted(name.decode("utf-8", "replace") for name in allocated if name not in _NOT_NAMES)

    def link(self, path: str) -> str | None:
        """Return the target of the symbolic link at `path`, or None; its parent directories are no links."""
        parent = self._resolve(path.rpartition("/")[0])
        if parent is None or parent.info.meta.type != pytsk3.TSK_FS_META_TYPE_DIR:
            return None
        node = self._lookup(path)
        is_link = node is not None and node.info.meta.type == pytsk3.TSK_FS_META_TYPE_LNK
        return self._target(path, node) if is_link else None

    def _resolve(self, path: str) -> Any | None:
        """Return the file that `path` leads to through its symbolic links, or None."""
        try:
            return self._lookup(follow_links(path, self._link_on_the_way))
        except _LeadsNowhereError:
            return None

    def _link_on_the_way(self, path: str, is_parent: bool) -> str | None:
        """Return the target of the link at `path`, or None. Raises _LeadsNowhereError if nothing follows."""
        node = self._lookup(path)
        if node is None:
            raise _LeadsNowhereError
        kind = node.info.meta.type
        if kind == pytsk3.TSK_FS_META_TYPE_LNK:
            return self._target(path, node)
        if is_parent and kind != pytsk3.TSK_FS_META_TYPE_DIR:
            raise _LeadsNowhereError
        return None

    def _lookup(self, path: str) -> Any | None:
        """Return the file at a path without links, or None; a deleted file that is still named is none."""
        if path not in self._seen:
            self._seen[path] = self._open(path)
        return self._seen[path]

    def _open(self, path: str) -> Any | None:
        try:
            node = self._call(path, self._fs.open, path)
        except _NotFoundError:
            self._check_directory(path.rpartition("/")[0] or "/")
            return None
        name, meta = node.info.name, node.info.meta
        if name is not None and not int(name.flags) & int(pytsk3.TSK_FS_NAME_FLAG_ALLOC):
            return None
        if (
            meta is None
            or meta.type not in _KINDS
            or not int(meta.flags) & int(pytsk3.TSK_FS_META_FLAG_ALLOC)
        ):
            raise UnreadableError(f"{path} is damaged: its name leads to no valid inode")
        return node

    def _check_directory(self, path: str) -> None:
        """Raise UnreadableError if a directory of ext is damaged: The Sleuth Kit passes over bad entries.

        Their files would be taken for absent, and a damaged disk for one that was never prepared.
        """
        if self._is_ext and path not in self._whole:
            content = self._content(path, self._resolve(path), MAX_FILE_BYTES)
            if not _fills_blocks(content, int(self._fs.info.block_size)):
                raise UnreadableError(f"the directory {path} is damaged")
            self._whole.add(path)

    def _target(self, path: str, node: Any) -> str:
        meta = node.info.meta
        # The Sleuth Kit gives the target of a link in its inode or in blocks, but not of a link in extents:
        # there the target is the content.
        raw = self._content(path, node, _MAX_LINK_BYTES) if meta.link is None else bytes(meta.link)
        try:
            return raw.split(b"\0")[0].decode("utf-8")
        except UnicodeDecodeError:
            raise UnreadableError(f"{path} is a symbolic link to a name that is not UTF-8") from None

    def _content(self, path: str, node: Any, limit: int) -> bytes:
        size = int(node.info.meta.size)
        if not 0 <= size <= limit:
            raise TooLargeError(f"{path} has {size} bytes, not between 0 and the {limit} that are read")
        content: bytes = self._call(path, node.read_random, 0, size) if size else b""
        if len(content) != size:
            raise UnreadableError(f"{path} ends after {len(content)} of {size} bytes")
        return content

    def _call(self, what: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call The Sleuth Kit. Raises the reader's own error if there was one, else UnreadableError."""
        try:
            result = function(*args, **kwargs)
        except (OSError, RuntimeError) as error:
            self._raise_failure()
            # pytsk3 has one exception for everything: only its text distinguishes "not there" from "damaged".
            if "path not found" in str(error):
                raise _NotFoundError from None
            raise UnreadableError(f"{what} cannot be read: {printable(str(error))}") from None
        self._raise_failure()
        return result

    def _raise_failure(self) -> None:
        if self._image.failure is not None:
            raise self._image.failure


class _NotFoundError(Exception):
    """Nothing has that path."""


class _LeadsNowhereError(Exception):
    """A name on the way is not there, or is no directory."""


def _fills_blocks(directory: bytes, block_size: int) -> bool:
    """Return whether the entries of an ext directory fill its blocks without a gap, as they must."""
    if len(directory) % block_size:
        return True  # stored in its inode, in another format
    at = 0
    while at < len(directory):
        (length,) = struct.unpack_from("<H", directory, at + 4)
        if length < 8 or length % 4 or at % block_size + length > block_size:
            return False
        at += length
    return True
