"""Texts of errors without the paths of this machine: callers must not learn its folders."""

import re

_FOLDERS = re.compile(r"(?:file://|(?<![\w./]))/(?:[^/\s'\"`:,;]+/)+")


def text_without_paths(problem: BaseException) -> str:
    """The text of an error; of each absolute path the last part alone, and of an OSError its reason alone."""
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return _FOLDERS.sub("", str(problem))
