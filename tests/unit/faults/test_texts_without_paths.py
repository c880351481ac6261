"""Callers learn no folder of the machine from an error."""

import errno

import pytest

from recast.diskimage import DiskImageError
from recast.faults import text_without_paths


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/var/lib/recast/staging/key"),
            "No space left on device",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "/a", None, "/b"),
            "No such file or directory",
        ),
        (OSError("syncfs /srv/recast: failed"), "syncfs recast: failed"),
        (
            DiskImageError("qemu-img convert: /srv/x/d.qcow2: cannot read"),
            "qemu-img convert: d.qcow2: cannot read",
        ),
        (ValueError("Could not open '/staging/a b/c'"), "Could not open 'a b/c'"),
        (
            ValueError("put a/b/c: Unable to open file /srv/recast/csbs/a/b/c#1: full"),
            "put a/b/c: Unable to open file c#1: full",
        ),
        (ValueError("open file:///srv/recast/csbs: read-only"), "open csbs: read-only"),
        (ValueError("http://s3:8333/recast/x answered 503"), "http://s3:8333/recast/x answered 503"),
        (ValueError("no path, 1/2 of it and/or none"), "no path, 1/2 of it and/or none"),
    ],
)
@pytest.mark.fault("FAULT-PATHS")
def test_a_text_has_no_path_of_ours(problem: Exception, text: str) -> None:
    """Of a path the last part is left; other texts are unchanged."""
    assert text_without_paths(problem) == text
