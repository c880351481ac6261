"""QEMU's own tools at a disk's file: writing as a guest would, and comparing without Recast."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.harness.disks import find_program
from tests.harness.expectations import NeverCame, until

# The programs that the demo runs, and the Debian package that holds each.
TOOLS: Mapping[str, str] = {"qemu-img": "qemu-utils", "qemu-io": "qemu-utils", "mke2fs": "e2fsprogs"}

_POLL_SECONDS = 0.05


class GuestProblem(Exception):
    """A tool of QEMU failed; the text is its output."""


@dataclass(frozen=True)
class Write:
    """`length` bytes of the value `pattern` at `offset`."""

    offset: int
    length: int
    pattern: int = 0xA5


def write(disk: Path, *writes: Write) -> None:
    """Writes to a qcow2 file and flushes, as a guest does."""
    commands = [f"write -P {each.pattern:#x} {each.offset} {each.length}" for each in writes]
    _qemu_io(disk, [part for command in (*commands, "flush") for part in ("-c", command)])


def holds(disk: Path, written: Write) -> bool:
    """Whether a guest reads the bytes of `written` from a qcow2."""
    arguments = ["-r", "-c", f"read -P {written.pattern:#x} {written.offset} {written.length}"]
    done = _qemu_io(disk, arguments, accept=(0, 1))
    if done.returncode and "Pattern verification failed" not in done.stdout:
        raise GuestProblem(f"qemu-io: {done.stderr.strip()}")
    return not done.returncode


def flip_byte(disk: Path, offset: int) -> None:
    """Changes one byte of a qcow2 to another value."""
    dump = _qemu_io(disk, ["-r", "-c", f"read -v {offset} 1"]).stdout
    # A dump's first line: `00003039:  5a  Z`.
    value = int(dump.split()[1], 16)
    write(disk, Write(offset, 1, value ^ 0xFF))


def difference(raw: Path, disk: Path) -> str:
    """The output of `qemu-img compare` for a raw file and a qcow2; empty when a guest
    reads the same from both.
    """
    done = _run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", str(raw), str(disk)])
    if done.returncode > 1:  # 0 is the same, 1 is different
        raise GuestProblem(done.stderr.strip())
    return done.stdout.strip() if done.returncode else ""


def backing_file(disk: Path) -> Path | None:
    """The file beneath a qcow2, None when it stands alone; by its header, so at once and past any lock."""
    with disk.open("rb") as file:
        magic, _version, offset, length = struct.unpack(">4sIQI", file.read(20))
        if magic != b"QFI\xfb":
            raise GuestProblem(f"{disk} is no qcow2")
        file.seek(offset)
        return (disk.parent / os.fsdecode(file.read(length))).resolve() if offset else None


def _qemu_io(
    disk: Path, arguments: list[str], accept: tuple[int, ...] = (0,)
) -> subprocess.CompletedProcess[str]:
    def attempt() -> subprocess.CompletedProcess[str] | None:
        done = _run(["qemu-io", "-f", "qcow2", *arguments, str(disk)])
        # Another reader of the file holds QEMU's lock on it for a moment: so it is tried again, for a while.
        return None if 'Failed to get "' in done.stderr else done

    try:
        done = until(attempt, f"QEMU's lock on {disk}", pause=_POLL_SECONDS)
    except NeverCame as problem:
        raise GuestProblem(f"qemu-io: {problem}") from problem
    assert done is not None  # the result of `until` is true
    if done.returncode not in accept:
        raise GuestProblem(f"qemu-io: {done.stderr.strip() or done.stdout.strip()}")
    return done


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    program = find_program(command[0], TOOLS[command[0]])
    return subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
