"""The one module that runs qemu-img.

Every call gives the format of every file, so that QEMU guesses none (CVE-2024-32498, CVE-2026-24708);
paths are absolute, so that QEMU cannot take a part of a name for a protocol.
"""

import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from recast.diskimage.errors import DiskBusy, DiskImageError, QemuImgMissing, SourceUnreadable

ImageFormat = Literal["qcow2", "raw"]
Watch = Callable[[], None]
"""Called periodically while qemu-img runs; an exception from it ends the run, and is raised."""

# A call that touches only metadata takes milliseconds; after this long the storage beneath is stuck.
METADATA_SECONDS = 120.0
# Usable storage is faster than this; slower means stuck.
SLOWEST_BYTES_PER_SECOND = 4 << 20
# Memory that an untrusted file may make QEMU use.
ADDRESS_SPACE_BYTES = 1 << 30
_PIECE_BYTES = 1 << 16
# Between calls of `watch`.
_WATCH_SECONDS = 0.25
# For each thread of a limited qemu-img: 64 of the usual 8 MiB would be half of its address space.
_THREAD_STACK_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a qemu-img that reads an untrusted file, against files crafted to exhaust the host."""

    address_space_bytes: int = ADDRESS_SPACE_BYTES
    cpu_seconds: int = 60


@dataclass(frozen=True, slots=True)
class MapEntry:
    """One extent of an image, in bytes. `depth` counts files from the opened one down."""

    start: int
    length: int
    depth: int
    is_present: bool
    is_zero: bool
    is_data: bool
    offset: int | None
    """The extent's offset in the file at `depth`; None when it is not stored there uncompressed."""


def create_overlay(
    path: Path, size_bytes: int, backing: tuple[str, ImageFormat] | None, *, keep_open: Sequence[int] = ()
) -> None:
    """Make an empty qcow2. `backing` is the name to store, relative to its final folder, and the format."""
    # -u: the backing file is not opened, for the overlay may be made in another folder than its final one.
    backed = [] if backing is None else ["-u", "-b", backing[0], "-F", backing[1]]
    _run(["create", "-q", "-f", "qcow2", *backed, path, str(size_bytes)], keep_open=keep_open)


def commit(path: Path, into: Path, *, keep_open: Sequence[int] = (), is_locked: bool = False) -> None:
    """Write the data of the qcow2 `path` into `into` beneath it, and grow `into` to its size.

    `is_locked`: the caller excludes writers of `path` by QEMU's locks, which this qemu-img then leaves alone.
    """
    options = f"driver=qcow2,file.driver=file,file.locking=off,file.filename={str(path).replace(',', ',,')}"
    opened = ["--image-opts", options] if is_locked else ["-f", "qcow2", path]
    # -d leaves `path` unchanged: emptying it would be useless, and unsafe while the chain needs it.
    _run(
        ["commit", "-q", "-d", "-b", into, *opened],
        timeout=_seconds_to_move(path.stat().st_blocks * 512),
        keep_open=keep_open,
    )


def resize(path: Path, size_bytes: int, *, keep_open: Sequence[int] = ()) -> None:
    """Set the virtual size of a qcow2; smaller is refused by qemu-img."""
    _run(["resize", "-q", "-f", "qcow2", path, str(size_bytes)], keep_open=keep_open)


def convert_to_raw(
    path: Path,
    image_format: ImageFormat,
    target: Path,
    data_bytes: int,
    address_space_bytes: int = ADDRESS_SPACE_BYTES,
    watch: Watch | None = None,
    *,
    target_is_zero: bool = False,
) -> None:
    """Write an image's content into a sparse raw file, under limits on memory and on time for `data_bytes`.

    `target_is_zero`: the file is there, has the image's size and reads as zeros. Raises SourceUnreadable when
    the image cannot be read.
    """
    timeout = _seconds_to_move(data_bytes)
    limits = Limits(address_space_bytes, cpu_seconds=int(timeout))
    existing = ["-n", "--target-is-zero"] if target_is_zero else []
    _run(
        ["convert", "-q", *existing, "-f", image_format, "-O", "raw", path, target],
        timeout=timeout,
        limits=limits,
        watch=watch,
    )


def info(
    path: Path, image_format: ImageFormat, limits: Limits | None = None, watch: Watch | None = None
) -> dict[str, Any]:
    """Return qemu-img's report on an image. Raises DiskBusy while another process may write to it."""
    answer = _run(["info", "--output=json", "-f", image_format, path], limits=limits, watch=watch)
    return dict(json.loads(answer))


def check(path: Path) -> str | None:
    """Return the damage of a qcow2, or None. Leaked clusters are no damage: they only cost space."""
    # 2 means corruptions, 3 means leaks and nothing worse; both come with a report.
    answer = _run(["check", "--output=json", "-f", "qcow2", path], accept=(0, 2, 3))
    report = json.loads(answer)
    broken = {key: report[key] for key in ("corruptions", "check-errors") if report.get(key)}
    return ", ".join(f"{count} {key}" for key, count in broken.items()) or None


def map_image(
    path: Path, image_format: ImageFormat, limits: Limits | None = None, watch: Watch | None = None
) -> Iterator[MapEntry]:
    """Yield an image's extents in order, covering all of it. Streamed: there may be millions.

    `watch` is called periodically while the extents are read.
    """
    for line in _lines(["map", "--output=json", "-f", image_format, path], limits, watch):
        text = line.decode().strip().lstrip("[").rstrip(",]")  # an array with one object a line
        if text:
            entry = json.loads(text)
            yield MapEntry(
                start=entry["start"],
                length=entry["length"],
                depth=entry["depth"],
                is_present=entry["present"],
                is_zero=entry["zero"],
                is_data=entry["data"],
                offset=entry.get("offset"),
            )


def _seconds_to_move(data_bytes: int) -> float:
    return METADATA_SECONDS + data_bytes / SLOWEST_BYTES_PER_SECOND


def _run(
    arguments: Sequence[str | Path],
    *,
    accept: Sequence[int] = (0,),
    timeout: float = METADATA_SECONDS,
    limits: Limits | None = None,
    keep_open: Sequence[int] = (),
    watch: Watch | None = None,
) -> str:
    """Run qemu-img and return what it printed. `keep_open` are lock descriptors that it inherits."""
    with _started(arguments, limits, subprocess.PIPE, keep_open) as child, _killed_on_error(child):
        try:
            output, errors = _outcome(child, timeout, watch)
        except subprocess.TimeoutExpired:
            raise _too_slow(arguments, timeout) from None
    if child.returncode in accept:
        return output.decode()
    raise _failure(str(arguments[0]), child.returncode, errors.decode(errors="replace"))


def _lines(arguments: Sequence[str | Path], limits: Limits | None, watch: Watch | None) -> Iterator[bytes]:
    """Run qemu-img and yield the lines that it prints, as it prints them.

    They pass through a pipe: a file of them would fill the memory where /tmp is a tmpfs.
    """
    end = time.monotonic() + METADATA_SECONDS
    with (
        tempfile.TemporaryFile() as errors,  # a few lines
        _started(arguments, limits, errors) as child,
        _killed_on_error(child),
        selectors.DefaultSelector() as selector,
    ):
        assert child.stdout is not None
        selector.register(child.stdout, selectors.EVENT_READ)
        rest, watched = b"", time.monotonic()
        while True:
            is_ready = selector.select(_WATCH_SECONDS)
            now = time.monotonic()
            if now > end:
                raise _too_slow(arguments, METADATA_SECONDS)
            if watch is not None and now - watched >= _WATCH_SECONDS:
                watch()
                watched = now
            if not is_ready:
                continue
            if not (piece := os.read(child.stdout.fileno(), _PIECE_BYTES)):
                break
            end = now + METADATA_SECONDS  # stuck is: it prints nothing
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
        yield rest
        if child.wait() != 0:
            errors.seek(0)
            raise _failure(str(arguments[0]), child.returncode, errors.read().decode(errors="replace"))


def _started(
    arguments: Sequence[str | Path],
    limits: Limits | None,
    stderr: int | IO[bytes],
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    # prlimit and not preexec_fn: the latter may deadlock in a process that has threads.
    limited = (
        []
        if limits is None
        else [
            "prlimit",
            f"--as={limits.address_space_bytes}",
            f"--cpu={limits.cpu_seconds}",
            f"--stack={_THREAD_STACK_BYTES}",
            "--",
        ]
    )
    try:
        return subprocess.Popen(
            [*limited, "qemu-img", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            # Messages are parsed below: they must be untranslated. One arena: by default each of QEMU's
            # up to 64 threads reserves 64 MiB of addresses for its own arena, more than the limit.
            env={**os.environ, "LC_ALL": "C", "MALLOC_ARENA_MAX": "1"},
            pass_fds=keep_open,
        )
    except FileNotFoundError:
        raise QemuImgMissing(
            *(("prlimit", "util-linux") if limited else ("qemu-img", "qemu-utils"))
        ) from None


@contextmanager
def _killed_on_error(child: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    except BaseException:  # any: the caller abandons this run
        child.kill()
        raise


def _too_slow(arguments: Sequence[str | Path], timeout: float) -> DiskImageError:
    return DiskImageError(f"qemu-img {arguments[0]} had not ended after {timeout:.0f} s")


def _outcome(child: subprocess.Popen[bytes], timeout: float, watch: Watch | None) -> tuple[bytes, bytes]:
    """Wait for the end, and return stdout and stderr."""
    end = time.monotonic() + timeout
    while True:
        rest = max(0.0, end - time.monotonic())
        try:
            return child.communicate(timeout=rest if watch is None else min(rest, _WATCH_SECONDS))
        except subprocess.TimeoutExpired:
            if watch is None or rest <= _WATCH_SECONDS:
                raise
            watch()


def _failure(command: str, code: int, stderr: str) -> DiskImageError:
    first_line = next((line for line in stderr.splitlines() if line.strip()), f"ended with code {code}")
    if "Failed to get" in stderr and "lock" in stderr:
        return DiskBusy("another program, such as a hypervisor, has its file open")
    # qemu-img convert's message; SIGXCPU: decompression took more than the limit for honest content.
    if "error while reading" in stderr or code == -signal.SIGXCPU:
        return SourceUnreadable(f"qemu-img {command}: {first_line.removeprefix('qemu-img: ')}")
    if "failed to execute qemu-img" in stderr:  # prlimit's message when it finds no such program
        return QemuImgMissing("qemu-img", "qemu-utils")
    return DiskImageError(f"qemu-img {command}: {first_line.removeprefix('qemu-img: ')}")
