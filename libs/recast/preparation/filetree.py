"""The interface by which checks read a file system."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from recast.preparation.content import NotRegularError, TooLargeError, UnreadableError

MAX_FILE_BYTES: Final = 1 << 20
"""The largest file that is read: a configuration file beyond this was not written by a person."""
MAX_NAMES: Final = 4096
MAX_LINKS: Final = 40
"""Symbolic links followed in one lookup; Linux's own limit."""

T = TypeVar("T")


class FileTree(Protocol):
    """A tree of files under absolute paths. Symbolic links are followed, within the tree.

    Every method raises UnreadableError for a path that is damaged, beyond a limit, or behind too many links.
    """

    def exists(self, path: str) -> bool:
        """Return whether `path` leads to something."""

    def read(self, path: str) -> bytes | None:
        """Return a file's content, or None if nothing is there.

        Raises NotRegularError for anything but a regular file, and TooLargeError beyond MAX_FILE_BYTES.
        """

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory; none if it is not there or no directory."""

    def link(self, path: str) -> str | None:
        """Return the target of the symbolic link at `path`, or None; its parent directories are no links."""


class TolerantTree:
    """A FileTree that never raises UnreadableError: what cannot be read is not there, and is in `problems`.

    So an unreadable file hides no readable one. A conclusion from the absence of something holds only while
    `problems` is empty.
    """

    def __init__(self, tree: FileTree) -> None:
        """Read from `tree`."""
        self.tree = tree
        self.problems: list[str] = []

    def exists(self, path: str) -> bool:
        """Return whether `path` leads to something that can be reached."""
        return self._tolerate(lambda: self.tree.exists(path), default=False)

    def read(self, path: str) -> bytes | None:
        """Return a regular file's content, or None."""
        return self._tolerate(lambda: self.tree.read(path), default=None)

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory, or none."""
        return self._tolerate(lambda: self.tree.names(path), default=[])

    def link(self, path: str) -> str | None:
        """Return the target of the symbolic link at `path`, or None."""
        return self._tolerate(lambda: self.tree.link(path), default=None)

    def has_content(self, path: str) -> bool:
        """Return whether `path` leads to a regular file that is not empty, of any size."""
        try:
            return bool(self.tree.read(path))
        except TooLargeError:
            return True
        except NotRegularError:
            return False
        except UnreadableError as error:
            self.note(str(error))
            return False

    def note(self, problem: str) -> None:
        """Note what could not be read."""
        if problem not in self.problems:
            self.problems.append(problem)

    def _tolerate(self, call: Callable[[], T], default: T) -> T:
        try:
            return call()
        except NotRegularError:
            return default  # a directory where a file could be is no file: programs skip it, too
        except UnreadableError as error:
            self.note(str(error))
            return default


def follow_links(path: str, link: Callable[[str, bool], str | None]) -> str:
    """Return the path without links that `path` leads to.

    `link` gives the target of the link at a path whose parents are no links, or None; its second argument is
    whether the path is the parent of another name. Raises UnreadableError after MAX_LINKS links.
    """
    here: list[str] = []  # names that are no links, so ".." may simply drop the last of them
    pending = deque(path.split("/"))
    links = 0
    while pending:
        name = pending.popleft()
        if name in ("", "."):
            continue
        if name == "..":
            here = here[:-1]
            continue
        target = link("/" + "/".join([*here, name]), bool(pending))
        if target is None:
            here.append(name)
            continue
        links += 1
        if links > MAX_LINKS:
            raise UnreadableError(f"{path} leads through too many symbolic links")
        here = [] if target.startswith("/") else here
        pending.extendleft(reversed(target.split("/")))
    return "/" + "/".join(here)


def read_text(tree: FileTree, path: str) -> str | None:
    """Return a file's content as text, or None if nothing is there; bytes that are not UTF-8 are replaced."""
    content = tree.read(path)
    return None if content is None else content.decode("utf-8", "replace")


def read_texts(tree: FileTree, directory: str, suffixes: tuple[str, ...] = ("",)) -> dict[str, str]:
    """Return the text of each file in `directory` with one of `suffixes`, by path, in order of name.

    What is no regular file is skipped.
    """
    texts: dict[str, str] = {}
    for name in tree.names(directory):
        if name.endswith(suffixes):
            try:
                text = read_text(tree, f"{directory}/{name}")
            except NotRegularError:
                continue
            if text is not None:
                texts[f"{directory}/{name}"] = text
    return texts
