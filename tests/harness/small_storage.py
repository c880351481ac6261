"""A small file system of a test's own, and a stranger who fills it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1 << 20


@contextmanager
def mounted_tmpfs(folder: Path, size_bytes: int) -> Iterator[None]:
    """A file system in memory at the folder."""
    with _mounted(folder, "-t", "tmpfs", "-o", f"size={size_bytes}", "recast-test"):
        yield


@contextmanager
def mounted_ext4(folder: Path, image: Path, size_bytes: int) -> Iterator[None]:
    """A file system of `size_bytes` at the folder; `image` is the file that holds it."""
    with image.open("wb") as file:
        file.truncate(size_bytes)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    with _mounted(folder, "-o", "loop", str(image)):
        yield


@contextmanager
def _mounted(folder: Path, *options: str) -> Iterator[None]:
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"this test mounts a small file system, which needs root: {done.stderr.strip()}")
    try:
        yield
    finally:
        # The last process of a stack may have an open file for a moment.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, name: str) -> Path:
    """Takes every free byte; returns the file that has them."""
    path = folder / name
    with path.open("wb", buffering=0) as file:
        for piece in (MIB, 4096, 512, 1):
            try:
                while file.write(bytes(piece)):
                    pass
            except OSError:
                continue
    return path
