"""The suite of every FileTree that checks read through."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from recast.preparation.content import UnreadableError
from recast.preparation.filetree import MAX_FILE_BYTES, MAX_NAMES, FileTree
from recast.preparation.fstab import MountedTree
from recast.preparation.sleuthkit import ReaderImage, SleuthKitTree
from tests.harness import disks
from tests.harness.memory_tree import LinkTo, MemoryTree

FILES: dict[str, str | LinkTo] = {
    "/etc/hostname": "web-1\n",
    "/etc/empty": "",
    "/etc/udev/rules.d/b.rules": "b",
    "/etc/udev/rules.d/a.rules": "a",
    "/usr/lib/os-release": "ID=debian\n",
    "/etc/os-release": LinkTo("../usr/lib/os-release"),
    "/etc/above-the-root": LinkTo("../../../usr/lib/os-release"),
    "/lib": LinkTo("/usr/lib"),
    "/etc/chain": LinkTo("/lib/../../etc/./os-release"),
    "/etc/dangling": LinkTo("/dev/null"),
    "/etc/loop": LinkTo("loop"),
    "/etc/long": LinkTo("/" + "./" * 100 + "etc/hostname"),
    "/etc/large": "x" * (MAX_FILE_BYTES + 1),
    "/etc/largest": "x" * MAX_FILE_BYTES,
} | {f"/many/{number}": "" for number in range(MAX_NAMES + 1)}


class FileReader:
    """A raw file as a ContentReader."""

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        self.size_bytes = len(self._content)

    def pread(self, offset: int, length: int) -> bytes:
        """Return the bytes."""
        return self._content[offset : offset + length]


class FileTreeSuite:
    """The suite; a subclass gives the tree, made of FILES."""

    @pytest.fixture
    def tree(self) -> FileTree:
        """Give the tree to test."""
        raise NotImplementedError

    @pytest.mark.parametrize("path", ["/etc/hostname", "/etc", "/", "/etc/os-release", "/lib/os-release"])
    def test_exists(self, tree: FileTree, path: str) -> None:
        """Files, directories, and the targets of links exist."""
        assert tree.exists(path)

    @pytest.mark.parametrize("path", ["/nothing", "/etc/hostname/below", "/etc/dangling", "/no/such/folder"])
    def test_does_not_exist(self, tree: FileTree, path: str) -> None:
        """A missing path, a path below a file, or a broken link does not exist and has no content."""
        assert not tree.exists(path)
        assert tree.read(path) is None

    @pytest.mark.parametrize(
        ("path", "content"),
        [
            ("/etc/hostname", b"web-1\n"),
            ("/etc/empty", b""),
            ("/etc/os-release", b"ID=debian\n"),
            ("/etc/above-the-root", b"ID=debian\n"),
            ("/lib/os-release", b"ID=debian\n"),
            ("/etc/chain", b"ID=debian\n"),
            ("/etc/long", b"web-1\n"),
        ],
    )
    def test_read(self, tree: FileTree, path: str, content: bytes) -> None:
        """A file is read whole, through relative, absolute, long and chained links."""
        assert tree.read(path) == content

    def test_read_largest(self, tree: FileTree) -> None:
        """A file of exactly the limit is read."""
        content = tree.read("/etc/largest")
        assert content is not None
        assert len(content) == MAX_FILE_BYTES

    @pytest.mark.parametrize("path", ["/etc", "/etc/loop", "/etc/large"])
    def test_unreadable(self, tree: FileTree, path: str) -> None:
        """A directory, a loop of links, and a file beyond the limit are unreadable, which is not absent."""
        with pytest.raises(UnreadableError):
            tree.read(path)

    def test_names(self, tree: FileTree) -> None:
        """The names in a directory come sorted, without the directory itself."""
        assert tree.names("/etc/udev/rules.d") == ["a.rules", "b.rules"]

    @pytest.mark.parametrize("path", ["/nothing", "/etc/hostname"])
    def test_no_names(self, tree: FileTree, path: str) -> None:
        """A missing path, or one that is no directory, holds no names."""
        assert tree.names(path) == []

    def test_too_many_names(self, tree: FileTree) -> None:
        """A directory with more entries than the limit is unreadable."""
        with pytest.raises(UnreadableError):
            tree.names("/many")


class TestMemoryTree(FileTreeSuite):
    @pytest.fixture
    def tree(self) -> FileTree:
        """Give a tree in memory."""
        return MemoryTree(FILES)


class TestMountedTree(FileTreeSuite):
    """A MountedTree without an fstab is its root."""

    @pytest.fixture
    def tree(self) -> FileTree:
        """Give a tree without mounts."""
        return MountedTree(MemoryTree(FILES), {})


def make_file_system(path: Path, fs_type: str, files: Mapping[str, str | LinkTo]) -> ReaderImage:
    """Make a file system of `fs_type` with `files` in it, and an image of it."""
    root = path.with_suffix(".files")
    for name, content in files.items():
        target = root / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, LinkTo):
            target.symlink_to(content.target)
        else:
            target.write_text(content)
    program = disks.find_program("mke2fs", "e2fsprogs")
    command = [program, "-q", "-F", "-t", fs_type, "-N", "8192", "-d", str(root), str(path), "24M"]
    subprocess.run(command, check=True, capture_output=True)
    return ReaderImage(FileReader(path))


@pytest.fixture(scope="module", params=["ext4", "ext2"])
def sleuth_kit_tree(request: Any, tmp_path_factory: pytest.TempPathFactory) -> FileTree:
    """Give FILES in ext4, which has extents, and in ext2, which has lists of blocks."""
    path = tmp_path_factory.mktemp("tree") / "disk.raw"
    return SleuthKitTree(make_file_system(path, request.param, FILES), 0, request.param)


class TestSleuthKitTree(FileTreeSuite):
    @pytest.fixture
    def tree(self, sleuth_kit_tree: FileTree) -> FileTree:
        """Give a tree on a disk."""
        return sleuth_kit_tree
