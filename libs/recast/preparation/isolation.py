"""Runs an inspection in a process of its own.

The bytes come from a tenant, and The Sleuth Kit neither bounds its work nor survives all hostile input.
So the kernel limits the child's processor time and memory, and a child that dies makes every check unknown.
The child holds no secrets and no descriptors but its pipes, and requests each byte from the parent. Before
the first byte it gives up all else that it could do (confinement.py).

On the pipe from the child: frames of one letter, "R" (read) or "D" (done), and two 64-bit numbers.
R: offset, length; the parent answers with a 32-bit length and that many bytes.
D: zero, length; followed by that many bytes of JSON, the report.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, Final

from recast.preparation.confinement import confine
from recast.preparation.content import ContentReader
from recast.preparation.inspection import inspect_here, unread_report
from recast.preparation.report import Report, json_from_report, report_from_json

CPU_SECONDS: Final = 5
"""Processor time of one inspection; an ordinary one takes 0.1 s, most of it to start Python."""
MAX_REPORT_BYTES: Final = 1 << 20
MAX_READ_BYTES: Final = 16 << 20

_FRAME: Final = struct.Struct(">cQQ")
_LENGTH: Final = struct.Struct(">I")
_START: Final = struct.Struct(">Q")


def inspect(reader: ContentReader, cpu_seconds: int = CPU_SECONDS) -> Report:
    """Return the report on the disk in `reader`.

    Raises the errors of `reader`, and none for bad content: unreadable checks are UNKNOWN, with the reason.
    Blocks for as long as the reads and at most `cpu_seconds` of computing take. Callable from any thread.
    """
    return _inspect_in(_start(cpu_seconds), reader)


class Inspector:
    """Inspects as `inspect` does, but starts the child in advance: starting Python is most of an inspection's
    time.

    A child serves one disk and ends. Callable from any thread.
    """

    def __init__(self, cpu_seconds: int = CPU_SECONDS) -> None:
        self._cpu_seconds = cpu_seconds
        self._ready: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._lock = threading.Lock()  # two threads must not get the same child

    def prepare(self) -> None:
        """Start a child in advance, if there is none. Optional: it only makes the first inspection faster."""
        with self._lock:
            if self._ready is None and not self._is_closed:
                self._ready = _start(self._cpu_seconds)

    def inspect(self, reader: ContentReader) -> Report:
        """Return the report on the disk in `reader`; see the function `inspect`."""
        with self._lock:
            child, self._ready = self._ready, None
        # A child that ended while it waited is no evidence about this disk.
        if child is None or child.poll() is not None:
            child = _start(self._cpu_seconds)
        try:
            return _inspect_in(child, reader)
        finally:
            # In a thread: the caller does not wait for the start, which takes as long as an inspection.
            threading.Thread(target=self.prepare, name="inspector", daemon=True).start()

    def close(self) -> None:
        """End the waiting child, and start no other."""
        with self._lock:
            self._is_closed = True
            child, self._ready = self._ready, None
        if child is not None:
            child.kill()
            _close(child)
            child.wait()


def _start(cpu_seconds: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-s", "-P", "-m", "recast.preparation.worker", str(cpu_seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Only the import path: a service's environment may hold secrets.
        env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        # A signal for the service's process group, such as Ctrl-C, is not for its children.
        start_new_session=True,
    )


def _inspect_in(child: subprocess.Popen[bytes], reader: ContentReader) -> Report:
    with child:
        try:
            report = _serve(reader, child)
        finally:
            child.kill()  # it is done, or broke the protocol, or the reader failed
            _close(child)
    return report or unread_report(_exit_reason(child.returncode))


def _serve(reader: ContentReader, child: subprocess.Popen[bytes]) -> Report | None:
    """Answer the child's reads until it is done. Return its report, or None if it ended without a valid one.

    No timeout is needed: the child is either computing, which its limit ends, or waiting for this loop.
    """
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        _send(child.stdin, _START.pack(reader.size_bytes))
        while True:
            frame = child.stdout.read(_FRAME.size)
            if len(frame) < _FRAME.size:
                child.wait(timeout=1)  # for its exit status; its pipe is closed, so it is exiting
                return None
            kind, offset, length = _FRAME.unpack(frame)
            if kind == b"D" and length <= MAX_REPORT_BYTES:
                return report_from_json(json.loads(child.stdout.read(length)))
            if kind != b"R" or length > MAX_READ_BYTES or offset + length > reader.size_bytes:
                return None
            content = _read(reader, offset, length)
            _send(child.stdin, _LENGTH.pack(len(content)) + content)
    except _ReaderError as error:
        raise error.cause from None
    except (BrokenPipeError, subprocess.TimeoutExpired, KeyError, TypeError, ValueError, RecursionError):
        return None  # it died, or sent no valid report


class _ReaderError(Exception):
    """Carries the reader's error past the handlers of the child's errors."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _read(reader: ContentReader, offset: int, length: int) -> bytes:
    try:
        return reader.pread(offset, length)
    except Exception as cause:
        raise _ReaderError(cause) from cause


def _send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(data)
    pipe.flush()


def _close(child: subprocess.Popen[bytes]) -> None:
    """Close the pipe to a child that has ended. An unsent answer is discarded."""
    if child.stdin is not None:
        with suppress(BrokenPipeError):
            child.stdin.close()


def _exit_reason(returncode: int) -> str:
    if returncode == -signal.SIGXCPU:
        return "the file system takes too long to read: it is damaged, or made to be so"
    how = signal.Signals(-returncode).name if returncode < 0 else f"status {returncode}"
    return f"reading the disk ended with {how}: it is damaged, or made to do harm"


class PipeReader:
    """The child's ContentReader: each read is a request to the parent."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._requests = requests
        self._answers = answers
        start = answers.read(_START.size)
        if not start:
            sys.exit()  # the parent ended, or needs no inspection any more
        (self.size_bytes,) = _START.unpack(start)

    def pread(self, offset: int, length: int) -> bytes:
        """Return the `length` bytes at `offset`."""
        _send(self._requests, _FRAME.pack(b"R", offset, length))
        (size,) = _LENGTH.unpack(self._answers.read(_LENGTH.size))
        return self._answers.read(size)


def work(cpu_seconds: int) -> None:
    """Inspect as the child: confine this process, send requests on standard output, read standard input."""
    requests = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library's output must not mix with the frames
    confine(cpu_seconds)
    report = inspect_here(PipeReader(requests, sys.stdin.buffer))
    encoded = json.dumps(json_from_report(report)).encode()
    _send(requests, _FRAME.pack(b"D", 0, len(encoded)) + encoded)
