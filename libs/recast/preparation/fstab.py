"""Reads /etc/fstab (fstab(5)), and joins the file systems it names into one tree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from recast.preparation.content import UnreadableError
from recast.preparation.filetree import FileTree, follow_links, read_text

PATH = "/etc/fstab"
_NOT_MOUNTED = ("/", "none", "swap")
_BINDING = frozenset({"bind", "rbind"})


@dataclass(frozen=True)
class Mount:
    """One line of an fstab."""

    device: str
    point: str
    type: str
    options: frozenset[str]


def parse_fstab(text: str) -> list[Mount]:
    """Return the lines that mount something; comments and incomplete lines are skipped."""
    rows = (line.split() for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [
        Mount(
            _unescape(row[0].replace('"', "")),
            _unescape(row[1]),
            row[2],
            frozenset(",".join(row[3:4]).split(",")),
        )
        for row in rows
        if len(row) >= 3
    ]


def _unescape(field: str) -> str:
    """Return a field with its octal escapes replaced: a blank is written as 040 after a backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8) & 0xFF), field)


class MountedTree:
    """A root file system with the others mounted on it by its fstab.

    Files under a mount point whose file system is not read are unreadable, not absent: a /usr on LVM must
    not be taken for a server without Cloud-Init.
    """

    def __init__(self, root: FileTree, by_device: Mapping[str, FileTree]) -> None:
        """Mount on `root` those of `by_device` that its fstab names; keys are as in an fstab ("UUID=...")."""
        self._root = root
        # Several checks read the same files; the reader's budget bounds what is stored here.
        self._contents: dict[str, bytes | None] = {}
        self._names: dict[str, list[str]] = {}
        self._binds: dict[str, str] = {}
        self._mounts: dict[str, tuple[str, FileTree | None]] = {}
        try:
            text = read_text(root, PATH) or ""
        except UnreadableError:
            return  # the check of the fstab reports it
        self._binds = {
            mount.point.rstrip("/"): mount.device
            for mount in parse_fstab(text)
            if mount.options & _BINDING and mount.device.rstrip("/") != mount.point.rstrip("/")
        }
        for mount in parse_fstab(text):
            if (
                mount.point.startswith("/")
                and mount.point not in _NOT_MOUNTED
                and not mount.options & {"noauto", *_BINDING}
            ):
                self._mounts[mount.point.rstrip("/")] = (mount.device, by_device.get(mount.device.lower()))

    def exists(self, path: str) -> bool:
        """Return whether `path` leads to something."""
        tree, inner = self._place(path)
        return tree.exists(inner)

    def read(self, path: str) -> bytes | None:
        """Return a file's content, or None if nothing is there."""
        if path not in self._contents:
            tree, inner = self._place(path)
            self._contents[path] = tree.read(inner)
        return self._contents[path]

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory; none if it is not there or no directory."""
        if path not in self._names:
            tree, inner = self._place(path)
            self._names[path] = tree.names(inner)
        return self._names[path]

    def link(self, path: str) -> str | None:
        """Return the target of the symbolic link at `path`, or None."""
        directory, _, name = path.rpartition("/")
        tree, inner = self._place(directory or "/")
        return tree.link(f"{inner.rstrip('/')}/{name}")

    def _place(self, path: str) -> tuple[FileTree, str]:
        """Return the tree that holds `path`, and the path within it, all links on the way followed.

        A tree follows links within itself alone: a link of the root into a mounted /usr would lead nowhere.
        """
        return self._mounted(follow_links(path, self._link_or_bind))

    def _link_or_bind(self, path: str, _is_parent: bool) -> str | None:
        """Return where `path` leads: a directory that is bound elsewhere leads there as a link does."""
        tree, inner = self._mounted(path)
        return self._binds.get(path) or (None if inner == "/" else tree.link(inner))

    def _mounted(self, path: str) -> tuple[FileTree, str]:
        """Return the tree that is mounted at `path` or above, and the path within it."""
        point = path
        while point:
            if point in self._mounts:
                device, tree = self._mounts[point]
                if tree is None:
                    raise UnreadableError(f"{path} is on another file system, {device}, which is not read")
                return tree, path[len(point) :] or "/"
            point = point.rpartition("/")[0]
        return self._root, path
