"""The interface by which checks read a file system."""

from __future__ import annotations

from typing import Final, Protocol

MAX_FILE_BYTES: Final = 1 << 20
"""The largest file that is read: a configuration file beyond this was not written by a person."""
MAX_NAMES: Final = 4096
MAX_LINKS: Final = 40
"""Symbolic links followed in one lookup; Linux's own limit."""


class FileTree(Protocol):
    """A tree of files under absolute paths. Symbolic links are followed, within the tree.

    Every method raises UnreadableError for a path that is damaged, beyond a limit, or behind too many links.
    """

    def exists(self, path: str) -> bool:
        """Return whether `path` leads to something."""

    def read(self, path: str) -> bytes | None:
        """Return a file's content, or None if nothing is there.

        Raises UnreadableError also for anything but a regular file.
        """

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory; none if it is not there or no directory."""


def read_text(tree: FileTree, path: str) -> str | None:
    """Return a file's content as text, or None if nothing is there; bytes that are not UTF-8 are replaced."""
    content = tree.read(path)
    return None if content is None else content.decode("utf-8", "replace")


def read_texts(tree: FileTree, directory: str, suffixes: tuple[str, ...] = ("",)) -> dict[str, str]:
    """Return the text of each file in `directory` with one of `suffixes`, by path, in order of name."""
    paths = [f"{directory}/{name}" for name in tree.names(directory) if name.endswith(suffixes)]
    texts = {path: read_text(tree, path) for path in paths}
    return {path: text for path, text in texts.items() if text is not None}
