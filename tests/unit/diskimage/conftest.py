"""Real disks for the tests: guests that write by qemu-io, and processes that die at a step."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from recast.diskimage import DiskFolder, DiskHost

LETTERS = b"".join(bytes([65 + i]) * (64 << 10) for i in range(16))  # 1 MiB, each cluster another letter
KILLED = 9


class Guest:
    """Writes to a disk as a virtual machine would, and records its expected content."""

    def __init__(self, disk: DiskFolder, content: bytes = b"") -> None:
        self.disk = disk
        self.model = bytearray(content.ljust(disk.size_bytes(), b"\0"))

    def write(self, offset: int, length: int, byte: int) -> None:
        """Write one repeated byte."""
        self._io(f"write -P {byte} {offset} {length}")
        self.model[offset : offset + length] = bytes([byte]) * length

    def zero(self, offset: int, length: int) -> None:
        """Write explicit zeros."""
        self._io(f"write -z {offset} {length}")
        self.model[offset : offset + length] = bytes(length)

    def discard(self, offset: int, length: int) -> None:
        """Discard whole clusters, which then read as zeros."""
        self._io(f"discard {offset} {length}")
        self.model[offset : offset + length] = bytes(length)

    def resize(self, size_bytes: int) -> None:
        """Grow the disk."""
        self.disk.resize(size_bytes)
        self.model.extend(bytes(size_bytes - len(self.model)))

    def _io(self, command: str) -> None:
        path = str(self.disk.active_path)
        done = subprocess.run(
            ["qemu-io", "-f", "qcow2", "-c", command, path], capture_output=True, check=True
        )
        assert b"failed" not in done.stdout + done.stderr, done


class RunningServer:
    """A process that holds a disk open for writing, as a hypervisor does, until it is closed."""

    def __init__(self, disk: DiskFolder) -> None:
        self._process = subprocess.Popen(
            ["qemu-io", "-f", "qcow2", str(disk.active_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._process.stdout.read(len("qemu-io>"))  # its prompt: the disk is open and locked

    def __enter__(self) -> "RunningServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def content_of(disk: DiskFolder, freeze_id: str | None = None) -> bytes:
    """Read all of a disk at rest, or as of a freeze."""
    with disk.reader() if freeze_id is None else disk.frozen_reader(freeze_id) as reader:
        return reader.pread(0, reader.size_bytes)


def write_letters(fd: int) -> None:
    """Fill the base `letters`."""
    os.pwrite(fd, LETTERS, 0)


def killed_after(root: Path, step: str, action: Callable[[DiskHost], None]) -> bool:
    """Run an action in a process that dies at once when `step` is done; return whether it came to that."""

    def die(name: str) -> None:
        if name == step:
            os._exit(KILLED)  # as SIGKILL: no handler, no finally

    pid = os.fork()
    if pid == 0:
        try:
            action(DiskHost(root, step=die))
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == KILLED


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The data folder of a host."""
    return tmp_path / "host"


@pytest.fixture
def host(root: Path) -> DiskHost:
    """A host that has the base `letters` of 1 MiB."""
    made = DiskHost(root)
    made.new_base("letters", len(LETTERS), write_letters)
    return made


@pytest.fixture(scope="session")
def guest_of() -> type[Guest]:
    """The class of guests, for tests that need several."""
    return Guest


@pytest.fixture
def guest(host: DiskHost) -> Guest:
    """A guest with disk `d1` of 2 MiB on the base."""
    disk = host.disk("d1")
    disk.create(2 * len(LETTERS), "letters")
    return Guest(disk, LETTERS)


@pytest.fixture
def running_server() -> type[RunningServer]:
    """The class of processes that hold a disk open."""
    return RunningServer


@pytest.fixture
def letters() -> bytes:
    """The content of the base `letters`."""
    return LETTERS


@pytest.fixture
def read_all() -> Callable[[DiskFolder, str | None], bytes]:
    """A function that reads all of a disk, now or as of a freeze."""
    return content_of


@pytest.fixture
def run_killed(root: Path) -> Callable[[str, Callable[[DiskHost], None]], bool]:
    """A function that runs an action in a process that dies at a step."""
    return lambda step, action: killed_after(root, step, action)
