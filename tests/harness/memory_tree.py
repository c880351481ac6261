"""A FileTree in a dictionary, for tests of checks that no disk at hand can stand for (Windows)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recast.preparation.content import NotRegularError, TooLargeError, UnreadableError
from recast.preparation.filetree import MAX_FILE_BYTES, MAX_NAMES, follow_links


@dataclass(frozen=True)
class LinkTo:
    """A symbolic link."""

    target: str


class MemoryTree:
    """Files by absolute path: text, or LinkTo. Directories are where files lie."""

    def __init__(self, files: Mapping[str, str | LinkTo]) -> None:
        self._files = dict(files)

    def exists(self, path: str) -> bool:
        """Return whether `path` leads to something."""
        found = self._resolve(path)
        return found in self._files or self._is_directory(found)

    def read(self, path: str) -> bytes | None:
        """Return a file's content, or None if nothing is there."""
        found = self._resolve(path)
        content = self._files.get(found)
        if content is None and self._is_directory(found):
            raise NotRegularError(f"{path} is not a regular file")
        if not isinstance(content, str):
            return None
        if len(content.encode()) > MAX_FILE_BYTES:
            raise TooLargeError(f"{path} is too large")
        return content.encode()

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory; none if it is not there or no directory."""
        folder = self._resolve(path).rstrip("/") + "/"
        names = {file[len(folder) :].split("/")[0] for file in self._files if file.startswith(folder)}
        if len(names) > MAX_NAMES:
            raise UnreadableError(f"{path} has too many entries")
        return sorted(names)

    def link(self, path: str) -> str | None:
        """Return the target of the symbolic link at `path`, or None."""
        content = self._files.get(path)
        return content.target if isinstance(content, LinkTo) else None

    def _is_directory(self, path: str) -> bool:
        return any(file.startswith(path.rstrip("/") + "/") for file in self._files)

    def _resolve(self, path: str) -> str:
        return follow_links(path, lambda at, _is_parent: self.link(at))
